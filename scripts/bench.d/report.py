"""Tables of results, and their output."""

import json
import os
import platform
import re
import subprocess

import picture

ORDER = ["floor", "sampan", "crun", "runc", "youki"]
BEGIN, END = "<!-- scripts/bench --docs writes from here -->\n", "<!-- to here -->\n"


def median(values):
    """The median."""
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2


def about(world):
    """Empty results."""
    versions = {subject.name: version(subject) for subject in world.subjects}
    return {"kernel": platform.release(), "processors": os.cpu_count(), "versions": versions, "rows": []}


def version(subject):
    if subject.name == "floor":
        return ""
    text = subprocess.run([subject.path, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\d+\.\d+[\w.]*", text)
    return found[0] if found else ""


def save(results, path):
    """Writes the raw values."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(results, file)


def load(paths):
    """Merges the results of several files: later rows replace earlier ones of the same name."""
    rows, results = {}, {}
    for path in paths:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
        # The description of the host is that of the first file.
        results = results or found
        rows.update({(row["section"], row["what"]): row for row in found["rows"]})
    return dict(results, rows=list(rows.values()))


def names(rows):
    """The columns that have a value, in order."""
    found = {name for row in rows for name in row["values"]}
    return [name for name in ORDER if name in found] + sorted(found - set(ORDER))


def ratio(row, name):
    """The median as a multiple of the floor's; None without one."""
    values, floor = row["values"].get(name), row["values"].get("floor")
    return median(values) / median(floor) if values and floor and median(floor) else None


def cell(row, name):
    """The median, and its multiple of the floor's."""
    if not row["values"].get(name):
        return "–"
    value = median(row["values"][name])
    text = f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"
    times = None if name == "floor" else ratio(row, name)
    return text if times is None else f"{text} ({times:.1f}×)"


def row(result):
    """Prints a row as soon as it is complete."""
    cells = "  ".join(f"{name} {cell(result, name)}" for name in names([result]))
    print(f"{result['what'] + ', ' + result['unit']:<40} {cells}", flush=True)


def table(results):
    """As Markdown."""
    rows, versions = results["rows"], results["versions"]
    columns = names(rows)
    heads = [f"{name} {versions.get(name, '')}".strip() for name in columns]
    lines = ["| " + " | ".join(["median", *heads]) + " |", "|---|" + "--:|" * len(columns)]
    for one in rows:
        cells = [f"{one['what']}, {one['unit']}"]
        lines.append("| " + " | ".join(cells + [cell(one, name) for name in columns]) + " |")
    return "\n".join(lines)


def show(results, options, repo):
    """Prints the table, and writes charts and files according to the options."""
    curves, plain = split(results)
    if plain["rows"]:
        print("\n" + table(plain))
    if curves:
        print("\n" + slopes(curves))
    if options.svg:
        write(options.svg, picture.curves(curves) if curves and not plain["rows"] else picture.dots(plain["rows"]))
    if options.docs:
        docs(plain, curves, repo)


def split(results):
    """The rows of curves as {axis: {name: [(x, median)]}}, and the results without them."""
    curves = {}
    for one in results["rows"]:
        if one["section"] == "curves":
            axis, count = one["what"].split(": ")
            for name in names([one]):
                points = curves.setdefault(axis, {}).setdefault(name, [])
                points.append((int(count), median(one["values"][name])))
    return curves, dict(results, rows=[one for one in results["rows"] if one["section"] != "curves"])


def slope(points):
    """Milliseconds for each additional one, by least squares."""
    count, sum_x, sum_y = len(points), sum(x for x, _ in points), sum(y for _, y in points)
    spread = count * sum(x * x for x, _ in points) - sum_x ** 2
    return (count * sum(x * y for x, y in points) - sum_x * sum_y) / spread if spread else 0


def cost(points):
    """In microseconds; a dash if it is less than the noise of the measurement."""
    microseconds = slope(points) * 1000
    return f"{microseconds:.1f}" if microseconds > 0 else "–"


def slopes(curves):
    """As Markdown: the cost of each additional one."""
    columns = [name for name in ORDER if any(name in lines for lines in curves.values())]
    lines = ["| one more of these costs, µs | " + " | ".join(columns) + " |", "|---|" + "--:|" * len(columns)]
    for axis, found in curves.items():
        cells = [cost(found[name]) if name in found else "–" for name in columns]
        lines.append(f"| {axis} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def docs(plain, curves, repo):
    """Writes tables and charts between the markers of docs/performance.md, and the rows of README.md's table."""
    path = os.path.join(repo, "docs/performance.md")
    with open(path, encoding="utf-8") as file:
        before, rest = file.read().split(BEGIN)
    after = rest.split(END)[1]
    block = ["![Times the floor, by verb and runtime](speed.svg)", "", table(plain)]
    write(os.path.join(repo, "docs/speed.svg"), picture.dots(plain["rows"]))
    if curves:
        write(os.path.join(repo, "docs/speed-curves.svg"), picture.curves(curves))
        block += ["", "![run by the number of mounts and rules](speed-curves.svg)", "", slopes(curves)]
    block += ["", f"Linux {plain['kernel']}, {plain['processors']} processors. Times are medians of runs in turns. VM: in the lab,",
              "with its newer runc, and with RCU grace periods that are not expedited."]
    write(path, before + BEGIN + "\n" + "\n".join(block) + "\n\n" + END + after)
    renew(os.path.join(repo, "README.md"), table(plain))


def renew(path, text):
    """Replaces each row of a table in a file by the row of `text` that has the same first cell."""
    first = lambda line: line.split("|")[1]
    rows = {first(line): line for line in text.splitlines() if line.startswith("| ")}
    with open(path, encoding="utf-8") as file:
        lines = file.read().split("\n")
    write(path, "\n".join(rows.get(first(line), line) if line.startswith("| ") else line for line in lines))


def write(path, text):
    """Writes a file, and creates its directory."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
