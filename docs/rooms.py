"""Draw the rooms of the package from its imports: ``python docs/rooms.py`` writes ``docs/images/rooms.svg``.

A room stands above every room that it imports. An arrow leads from a room to each room that it imports, except where a
longer way through other rooms says the same. A test draws the picture again and compares, so that it cannot grow stale.
"""

from __future__ import annotations

import ast
import html
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

DOCS = Path(__file__).resolve().parent
SOURCE = DOCS.parent / "src" / "spinefx"
PICTURE = DOCS / "images" / "rooms.svg"
WIDTH, HEIGHT, GAP, LANE = 196, 82, 22, 58
MARGIN, LETTERS = 24, 32
STYLE = (
    "text{font-family:system-ui,sans-serif;font-size:11px;fill:#333}"
    ".name{font-size:14px;font-weight:600;fill:#111}"
    ".room{fill:#eef3fb;stroke:#5b7db1}"
    ".ground{fill:#f4f4f0;stroke:#99958a}"
    "path{fill:none;stroke:#8a93a3}"
)

Imports = Mapping[str, set[str]]
# A room, or the place where an arrow from one room to another passes a row.
Node = str | tuple[str, str, int]


def rooms() -> dict[str, str]:
    """Return the rooms of the package with the first sentence of their docstrings."""
    found = {}
    for start in sorted(SOURCE.glob("*/__init__.py")):
        text = ast.get_docstring(ast.parse(start.read_text(encoding="utf-8"))) or ""
        found[start.parent.name] = text.replace("\n", " ").split(". ")[0].rstrip(".")
    return found


def imports(names: set[str]) -> dict[str, set[str]]:
    """Return which rooms each room imports, lazy imports within functions included.

    Parameters
    ----------
    names : set of str
        The rooms.
    """
    return {
        name: {
            module.split(".")[1]
            for path in sorted((SOURCE / name).rglob("*.py"))
            for module in _imported(ast.parse(path.read_text(encoding="utf-8")))
            if module.startswith("spinefx.")
        }
        & (names - {name})
        for name in sorted(names)
    }


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (
                [node.module] if node.module != "spinefx" else [f"spinefx.{alias.name}" for alias in node.names]
            )


def levels(graph: Imports) -> dict[str, int]:
    """Return how far above the ground each room stands: one more than the highest room that it imports.

    Parameters
    ----------
    graph : mapping of str to set of str
        Which rooms each room imports, without cycles.
    """
    found: dict[str, int] = {}

    def visit(name: str) -> int:
        if name not in found:
            found[name] = 1 + max(map(visit, graph[name]), default=-1)
        return found[name]

    for name in graph:
        visit(name)
    return found


def arrows(graph: Imports) -> list[tuple[str, str]]:
    """Return the imports that no longer way through other rooms implies.

    Parameters
    ----------
    graph : mapping of str to set of str
    """

    def reachable(name: str) -> set[str]:
        return graph[name] | {far for near in graph[name] for far in reachable(near)}

    return [
        (name, target)
        for name in sorted(graph)
        for target in sorted(graph[name])
        if not any(target in reachable(other) for other in graph[name] - {target})
    ]


def layout(graph: Imports) -> dict[Node, tuple[float, float]]:
    """Return the middle of the upper edge of every room, and of every place where an arrow passes a row of rooms.

    Parameters
    ----------
    graph : mapping of str to set of str

    Returns
    -------
    dict
        In pixels from the upper left corner, by the name of a room or by the two ends of an arrow and the row.
    """
    level = levels(graph)
    ways = [path_of(arrow, level) for arrow in arrows(graph)]
    highest = max(level.values())
    rows: list[list[Node]] = [
        sorted(
            {node for way in ways for node in way if row_of(node, level) == row}
            | {n for n in graph if level[n] == row},
            key=str,
        )
        for row in range(highest + 1)
    ]
    for rising in (True, False) * 4:
        order = rows[1:] if rising else rows[-2::-1]
        for row in order:
            place = {node: number - (len(near) - 1) / 2 for near in rows for number, node in enumerate(near)}
            row.sort(key=lambda node: (_mean_neighbour(node, ways, place, -1 if rising else 1), str(node)))
    widths = [sum(_width(node) for node in row) + GAP * (len(row) - 1) for row in rows]
    found: dict[Node, tuple[float, float]] = {}
    for number, row in enumerate(rows):
        x = MARGIN + (max(widths) - widths[number]) / 2
        for node in row:
            found[node] = (x + _width(node) / 2, MARGIN + (highest - number) * (HEIGHT + LANE))
            x += _width(node) + GAP
    return found


def path_of(arrow: tuple[str, str], level: Mapping[str, int]) -> list[Node]:
    """Return the room where an arrow starts, the rows that it passes, and the room where it ends.

    Parameters
    ----------
    arrow : tuple of str
    level : mapping of str to int
        The row of every room.
    """
    start, end = arrow
    return [start, *((start, end, row) for row in range(level[start] - 1, level[end], -1)), end]


def row_of(node: Node, level: Mapping[str, int]) -> int:
    """Return the row of a room or of a place where an arrow passes.

    Parameters
    ----------
    node : str or tuple
    level : mapping of str to int
    """
    return level[node] if isinstance(node, str) else node[2]


def _mean_neighbour(node: Node, ways: list[list[Node]], place: Mapping[Node, float], side: int) -> float:
    # Arrows are listed from above to below: the neighbour below follows, the one above comes before.
    near = [
        place[way[at - side]] for way in ways for at in range(len(way)) if way[at] == node and 0 <= at - side < len(way)
    ]
    return sum(near) / len(near) if near else place[node]


def _width(node: Node) -> int:
    return WIDTH if isinstance(node, str) else 0


def picture() -> str:
    """Return the drawing as SVG."""
    known = rooms()
    graph = imports(set(known))
    middles = layout(graph)
    level = levels(graph)
    wide = max(x for node, (x, _) in middles.items() if isinstance(node, str)) + WIDTH / 2 + MARGIN
    ground = max(y for _, y in middles.values()) + HEIGHT + LANE / 2
    single = ", ".join(path.stem for path in sorted(SOURCE.glob("[!_]*.py")))
    tall = ground + 44 + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:g} {tall:g}" role="img" aria-labelledby="t">',
        '<title id="t">The rooms of spinefx and what each of them imports</title>',
        f"<style>{STYLE}</style>",
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M1 1 7 4 1 7" /></marker></defs>',
        f'<rect width="{wide:g}" height="{tall:g}" fill="#fff" rx="8" />',
        *(_line([middles[node] for node in path_of(arrow, level)]) for arrow in arrows(graph)),
        *(_box(name, known[name], *middles[name]) for name in sorted(known)),
        f'<rect class="ground" x="{MARGIN}" y="{ground:g}" width="{wide - 2 * MARGIN:g}" height="44" rx="6" />',
        f'<text x="{wide / 2:g}" y="{ground + 27:g}" text-anchor="middle">'
        f"Single modules below the rooms: {single}</text>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _line(points: list[tuple[float, float]]) -> str:
    (x, y), *through = points
    y += HEIGHT
    way = f"M{x:g} {y:g}"
    for to_x, to_y in through:
        bend = (to_y - y) / 2
        way += f"C{x:g} {y + bend:g} {to_x:g} {to_y - bend:g} {to_x:g} {to_y:g}"
        if (to_x, to_y) != points[-1]:
            way += f"v{HEIGHT}"
        x, y = to_x, to_y + HEIGHT
    return f'<path d="{way}" marker-end="url(#a)" />'


def _box(name: str, summary: str, middle: float, y: float) -> str:
    words = textwrap.wrap(summary, LETTERS, max_lines=3, placeholder=" ...")
    x = middle - WIDTH / 2
    rows = [
        f'<rect class="room" x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="6" />',
        f'<text class="name" x="{middle:g}" y="{y + 22:g}" text-anchor="middle">{name}</text>',
        *(
            f'<text x="{middle:g}" y="{y + 40 + 15 * number:g}" text-anchor="middle">{html.escape(line)}</text>'
            for number, line in enumerate(words)
        ),
    ]
    return "\n".join(rows)


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
    print(f"wrote {PICTURE.relative_to(DOCS.parent)}")
