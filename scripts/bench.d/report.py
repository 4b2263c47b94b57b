"""Tables and pictures of results."""

import json
import platform
from statistics import median

ORDER = ["floor", "sampan", "crun", "runc", "youki"]


def about(world):
    """Results without rows yet."""
    return {"kernel": platform.release(), "runtimes": {s.name: s.path for s in world.subjects}, "rows": []}


def save(results, path):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(results, file)


def load(paths):
    """The results of several files as one: later rows replace earlier ones of the same name."""
    rows, results = {}, {}
    for path in paths:
        with open(path, encoding="utf-8") as file:
            results = json.load(file)
        rows.update({(row["section"], row["what"]): row for row in results["rows"]})
    return dict(results, rows=list(rows.values()))


def names(rows):
    found = {name for row in rows for name in row["values"]}
    return [name for name in ORDER if name in found] + sorted(found - set(ORDER))


def cell(row, name):
    """The median, and how many times the floor's it is."""
    if not row["values"].get(name):
        return "–"
    value = median(row["values"][name])
    text = f"{value:.2f}" if value < 100 else f"{value:.0f}"
    floor = row["values"].get("floor")
    return text if name == "floor" or not floor else f"{text} ({value / median(floor):.1f}×)"


def row(result):
    """Prints a row as soon as there is one."""
    cells = "  ".join(f"{name} {cell(result, name)}" for name in names([result]))
    print(f"{result['what'] + ', ' + result['unit']:<38} {cells}", flush=True)


def table(rows):
    columns = names(rows)
    lines = ["| " + " | ".join(["median", *columns]) + " |", "|---" * (len(columns) + 1) + "|"]
    for one in rows:
        lines.append("| " + " | ".join([f"{one['what']}, {one['unit']}", *(cell(one, name) for name in columns)]) + " |")
    return "\n".join(lines)


def show(results, options, repo):
    print()
    print(table(results["rows"]))
