"""Charts of results, as hand-written SVG that is readable on light and on dark backgrounds."""

from math import log10

import report

STYLE = """<style>
text{font:12px sans-serif;fill:#333}.axis{stroke:#999;stroke-width:.5}.note{fill:#777}
.floor{fill:#888;stroke:#888}.sampan{fill:#d33;stroke:#d33}.crun{fill:#28c;stroke:#28c}.runc{fill:#2a7;stroke:#2a7}
.youki{fill:#b70;stroke:#b70}.other{fill:#95c;stroke:#95c}polyline{fill:none!important;stroke-width:2}
@media(prefers-color-scheme:dark){text{fill:#ddd}.note{fill:#999}.axis{stroke:#666}}
</style>"""
LEFT, WIDTH, STEP = 190, 720, 24


def svg(height, parts):
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
    return "\n".join([head, STYLE, *parts, "</svg>"]) + "\n"


def kind(name):
    return name if name in report.ORDER else "other"


def legend(columns, y):
    """The names in their colours."""
    parts, x = [], LEFT
    for name in columns:
        parts.append(f'<circle class="{kind(name)}" cx="{x}" cy="{y - 4}" r="5"/><text x="{x + 9}" y="{y}">{name}</text>')
        x += 30 + 8 * len(name)
    return parts


def dots(rows):
    """Multiples of the floor on a logarithmic axis: a row for each measurement, a dot for each runtime."""
    rows = [row for row in rows if row["unit"] == "ms" and row["values"].get("floor")]
    columns = [name for name in report.names(rows) if name != "floor"]
    most = max([2] + [report.ratio(row, name) or 1 for row in rows for name in columns])
    bottom, room = 44 + STEP * len(rows), WIDTH - LEFT - 30
    parts = legend(columns, 16)

    def place(times):
        return LEFT + room * log10(max(times, 1)) / log10(most)
    for tick in (1, 2, 3, 5, 10, 20, 30, 50, 100):
        if tick <= most:
            x = place(tick)
            parts.append(f'<line class="axis" x1="{x:.0f}" x2="{x:.0f}" y1="28" y2="{bottom}"/>'
                         f'<text class="note" x="{x:.0f}" y="{bottom + 14}" text-anchor="middle">{tick}×</text>')
    for number, row in enumerate(rows):
        y = 44 + STEP * number
        parts.append(f'<text x="{LEFT - 12}" y="{y + 4}" text-anchor="end">{row["what"]}</text>')
        for name in reversed(columns):
            times = report.ratio(row, name)
            if times:
                parts.append(f'<circle class="{kind(name)}" cx="{place(times):.0f}" cy="{y}" r="5"/>')
    parts.append(f'<text class="note" x="{LEFT}" y="{bottom + 30}">times the floor: the same work for the kernel '
                 'and nothing else; less is better</text>')
    return svg(bottom + 38, parts)


def curves(found):
    """A panel for each axis, a line for each runtime, milliseconds over the number."""
    columns = [name for name in report.ORDER if any(name in lines for lines in found.values())]
    parts, wide, high = legend(columns, 16), WIDTH // max(1, len(found)), 180
    for number, (axis, lines) in enumerate(found.items()):
        left, room = wide * number + 34, wide - 60
        most_x = max(x for points in lines.values() for x, _ in points) or 1
        most_y = max(y for points in lines.values() for _, y in points) or 1

        def place(x, y):
            return f"{left + room * x / most_x:.0f},{40 + high * (1 - y / most_y):.0f}"
        parts.append(f'<polyline class="axis" points="{place(0, most_y)} {place(0, 0)} {place(most_x, 0)}"/>')
        parts.append(f'<text class="note" x="{left - 4}" y="46" text-anchor="end">{most_y:.0f}</text>'
                     f'<text class="note" x="{left + room}" y="{high + 54}" text-anchor="end">{most_x}</text>'
                     f'<text x="{left}" y="{high + 54}">{axis}</text>')
        for name, points in lines.items():
            parts.append(f'<polyline class="{kind(name)}" points="{" ".join(place(x, y) for x, y in points)}"/>')
    parts.append(f'<text class="note" x="34" y="{high + 72}">milliseconds of run, by number</text>')
    return svg(high + 80, parts)
