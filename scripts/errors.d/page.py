"""docs/errors.md: what the runtimes said, and what can be counted about it. README.md: three of the answers."""

import re

LONGEST = 320

HEAD = """# The same mistake to each runtime

`scripts/errors` gives each runtime {cases} wrong inputs and broken hosts, one at a time, and has written this page:
{versions}.{absent}{note}

## What can be counted

{table}

The rules are mechanical, and the script applies them to all runtimes alike:

- *refused*: the call failed. For some cases a warning is a fair answer too; those that ran are marked by status 0. A
  call that did not end within {patience} s, {attempts} times in a row, is a hang.
- *names the property*: the text has the last word of the property to blame, or of the flag (`oomScoreAdj`, `mounts`,
  `--bundle`), whatever its case and whether it is written with capitals or underscores. Only cases that have a property
  or a flag to blame count.
- *names the object*: the text has the path, the name or the value that is wrong. Only cases that have one count.
- *leaves something*: after a call that failed, the state's directory, a cgroup, a mount or a process of the container
  is there.

The last two columns of each table say the same of one answer: **P** names the property, **O** names the object. BUNDLE,
ROOT and the-id stand for the bundle, the root directory and the id. Times, levels and the warnings of a call that failed are
left out, lines are joined by ` / `, and texts of more than {longest} characters are cut: `…`.

"""


# What is different at each call, and what stands for it.
PASSING = [(r"\[\d{2,}\]", "[PID]"), (r"/proc/\d+/", "/proc/PID/"), (r"Pid\(\d+\)", "Pid(PID)"), (r"/state-\d+", "/state-NUMBER"),
           (r"/var/tmp/errors\.\w+/", "")]


def tidy(output, trial, failed):
    """The output without times, levels and names that change, and without the warnings of a call that failed."""
    lines = []
    output = re.sub(r"\x1b\[[0-9;]*m", "", output)
    for line in output.replace(trial.bundle, "BUNDLE").replace(trial.root, "ROOT").replace(trial.ident, "the-id").splitlines():
        logged = re.match(r'time="[^"]*" level=(\w+) msg=(.*)$', line)
        if logged:
            text = logged.group(2)
            if text.startswith('"'):
                text = text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
            if failed and logged.group(1) == "warning":
                continue
            line = text if logged.group(1) in ("error", "fatal") else f"{logged.group(1)}: {text}"
        line = re.sub(r"^\d{4}-\d\d-\d\d[T ][\d:.]+Z?:?\s*", "", line).strip()
        for pattern, word in PASSING:
            line = re.sub(pattern, word, line)
        if line and line not in lines:
            lines.append(line)
    text = " / ".join(lines)
    return text if len(text) <= LONGEST else text[:LONGEST].rstrip() + " …"


def names_property(case, text):
    """Whether the text has the last word of the property or the flag."""
    word = re.sub(r"\[.*", "", case.blamed.rsplit(".", 1)[-1]).lstrip("-")
    if word == "path":
        word = case.blamed.split(".")[-2]
    words = [word, re.sub(r"(?<=[a-z])(?=[A-Z])", "_", word), re.sub(r"(?<=[a-z])(?=[A-Z])", " ", word), word.replace("-", " ")]
    return any(re.search(rf"(?<![a-z]){re.escape(one.lower())}(?![a-z])", text.lower()) for one in words)


def names_object(case, text):
    named = {"ID": "the-id"}.get(case.named, case.named)
    return named in text if named == "ROOT" else named.lower() in text.lower()


def marks(case, answer):
    text = answer["output"]
    return (("P" if case.blamed and names_property(case, text) else "") +
            ("O" if case.named and names_object(case, text) else ""))


def status(answer):
    return "hang" if answer["status"] is None else str(answer["status"])


def cell(text):
    """Text of a runtime for a cell of a table."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_").replace("`", "\\`")


def entry(number, case, row, versions):
    lines = [f"### {number}. {case.title[0].upper()}{case.title[1:]}", "", "| runtime | status | says | |", "|---|--:|---|---|"]
    for name in versions:
        if name not in row:
            lines.append(f"| {name} | – | not measured | |")
            continue
        answer = row[name]
        left = f" leaves: {', '.join(answer['left'])}" if answer["left"] else ""
        text = cell(answer["output"]) or "(nothing)"
        lines.append(f"| {name} | {status(answer)} | {text} | {marks(case, answer)}{left} |")
    return "\n".join(lines) + "\n"


def count(results, name):
    answers = [(case, row[name]) for case, row in results if name in row]
    refused = [(case, answer) for case, answer in answers if answer["status"] != 0]
    hangs = sum(answer["status"] is None for _, answer in answers)
    blamed = [names_property(case, answer["output"]) for case, answer in answers if case.blamed]
    named = [names_object(case, answer["output"]) for case, answer in answers if case.named]
    left = sum(bool(answer["left"]) for _, answer in refused)
    return [f"{len(refused) - hangs} of {len(answers)}", f"{sum(blamed)} of {len(blamed)}",
            f"{sum(named)} of {len(named)}", str(left), str(hangs)]


def document(results, versions, note):
    import __main__ as script
    lines = ["| runtime | refused | names the property | names the object | leaves something | hangs |",
             "|---|--:|--:|--:|--:|--:|"]
    for name, version in versions.items():
        cells = count(results, name) if version else ["not measured"] + ["–"] * 4
        lines.append(f"| {title(name, version)} | {' | '.join(cells)} |")
    there = [title(name, version) for name, version in versions.items() if version]
    absent = [name for name, version in versions.items() if not version]
    text = HEAD.format(cases=len(results), versions=", ".join(there), table="\n".join(lines), patience=script.PATIENCE, attempts=script.ATTEMPTS,
                       longest=LONGEST, note=f" {note}" if note else "",
                       absent=f" Not measured, because not installed: {', '.join(absent)}." if absent else "")
    entries = [entry(number, case, row, versions) for number, (case, row) in enumerate(results, 1)]
    return text + "## The cases\n\n" + "\n".join(entries)


# The cases and the runtimes of README.md's table.
EXCERPT = ["a program whose dynamic loader is missing", "a script with DOS line ends", "a misspelt option of a tmpfs"]
COLUMNS = ["sampan", "runc", "crun"]


def with_excerpt(readme, results, versions):
    """The text of README.md with these answers in the table that begins with `wrong input`."""
    rows = ["| wrong input | " + " | ".join(title(name, versions[name]) for name in COLUMNS) + " |",
            "|---" * (len(COLUMNS) + 1) + "|"]
    for case, row in results:
        if case.title in EXCERPT:
            rows.append(" | ".join([f"| {case.title}", *(cell(row[name]["output"]) for name in COLUMNS)]) + " |")
    table = "\n".join(rows) + "\n"
    return re.sub(r"^\| wrong input .*\n(\|.*\n)*", lambda _: table, readme, flags=re.MULTILINE)


def title(name, version):
    return f"{name.split()[0]} {version}" if version else name
