"""Draws docs/architecture.svg from the tree: stages with their rooms, and the artifacts that go from stage to stage.

`python -m tests.architecture` writes the picture again; tests/test_architecture.py compares it.
"""

import ast
from dataclasses import dataclass
from html import escape
from pathlib import Path

from tests.imports import ROOT, STAGES, modules, room_of

PICTURE = ROOT / "docs" / "architecture.svg"
# (from, to, artifacts, route): what a stage reads of another's sealed artifacts; "" is outside the project.
FLOW = (
    ("", "corpus", "web, dumps, data sets", "in"),
    ("corpus", "tokenizer", "corpus", "right"),
    ("corpus", "pretrain", "corpus", "over"),
    ("tokenizer", "pretrain", "tokenizer", "right"),
    ("pretrain", "finetune", "pretrain", "right"),
    ("corpus", "finetune", "fetch", "over"),
    ("corpus", "search", "corpus", "below"),
    ("tokenizer", "search", "tokenizer", "down"),
    ("pretrain", "search", "pack, pretrain", "down"),
    ("finetune", "bots", "finetune, lora", "right"),
    ("search", "bots", "index", "up"),
    ("finetune", "publish", "finetune, lora", "down"),
    ("pretrain", "publish", "pretrain", "right"),
    ("publish", "", "Hugging Face Hub", "out"),
    ("bots", "", "terminal, API, Slack", "out"),
)
# Column, top and number of columns of rooms of each stage's box.
PLACES = {
    "corpus": (0, 80, 1), "tokenizer": (1, 80, 1), "pretrain": (2, 80, 1), "finetune": (3, 80, 1), "bots": (4, 80, 1),
    "publish": (3, 230, 1), "search": (1, 400, 2), "pipeline": (0, 560, 5),
}  # fmt: skip
WIDTH, GAP, LEFT, LINE, HEAD, PAD = 190, 84, 40, 17, 30, 10
CANVAS = (LEFT * 2 + 5 * WIDTH + 4 * GAP, 640)
RAIL, RAIL_STEP, SLOT = 60, 22, 18  # the first line above the boxes, the next one above it, arrows on one side of a box
STYLE = (
    "text{font-family:sans-serif;font-size:12px;fill:#222}.s{font-weight:bold;font-size:14px}.n{fill:#777}"
    ".b{fill:#f7f8fa;stroke:#4a6785;stroke-width:1.5}.p{fill:#f4f1ea;stroke:#8a7a55;stroke-width:1.5}"
    ".a{stroke:#b5482f;stroke-width:1.5;fill:none;marker-end:url(#h)}.l{fill:#b5482f;font-size:11px}"
)
Point = tuple[int, int]


@dataclass(frozen=True)
class Box:
    """A stage in the picture, pixels."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """The right side."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """The lower side."""
        return self.y + self.height


@dataclass(frozen=True)
class Arrow:
    """A line through some points, and where its label begins."""

    points: tuple[Point, ...]
    label: str
    at: Point
    anchor: str = "start"

    def svg(self) -> list[str]:
        """The line and its label."""
        path = " L".join(f"{x},{y}" for x, y in self.points)
        (x, y) = self.at
        return [
            f'<path class="a" d="M{path}"/>',
            f'<text class="l" text-anchor="{self.anchor}" x="{x}" y="{y}">{escape(self.label)}</text>',
        ]


def rooms(stage: str) -> list[tuple[str, int]]:
    """Rooms of a stage below its top level and their numbers of Python files, then the files of the top level together."""
    known = modules()
    counts: dict[str, int] = {}
    for name, path in known.items():
        if name.split(".")[0] == stage and path.name != "__init__.py":
            room = room_of(name, known)
            folder = path.parent.relative_to(ROOT / stage).as_posix() if room != name else "."
            counts[folder] = counts.get(folder, 0) + 1
    top = counts.pop(".", 0)
    return [*sorted(counts.items()), ("(top level)", top)]


def boxes() -> dict[str, Box]:
    """Where each stage is drawn."""
    found = {}
    for stage, (column, top, columns) in PLACES.items():
        rows = -(-len(rooms(stage)) // columns)
        width = columns * WIDTH + (columns - 1) * GAP
        found[stage] = Box(LEFT + column * (WIDTH + GAP), top, width, HEAD + rows * LINE + PAD)
    return found


def _box(stage: str, box: Box) -> list[str]:
    kind = "p" if stage == "pipeline" else "b"
    lines = [
        f'<rect class="{kind}" x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="6"/>',
        f'<text class="s" x="{box.x + PAD}" y="{box.y + 20}">{stage}/</text>',
    ]
    columns = PLACES[stage][2]
    listed = rooms(stage)
    rows = -(-len(listed) // columns)
    for number, (room, count) in enumerate(listed):
        x = box.x + PAD + number // rows * (WIDTH + GAP)
        y = box.y + HEAD + (number % rows) * LINE + 12
        lines.append(f'<text x="{x}" y="{y}">{escape(room)} <tspan class="n">{count}</tspan></text>')
    return lines


def _arrows(placed: dict[str, Box]) -> list[Arrow]:
    used: dict[tuple[str, str], int] = {}  # arrows that meet a side of a box already

    def slot(stage: str, side: str) -> int:
        used[stage, side] = used.get((stage, side), 0) + 1
        return SLOT * used[stage, side]

    arrows = []
    for start, end, label, route in FLOW:
        a, b = placed.get(start, Box(0, 0, 0, 0)), placed.get(end, Box(0, 0, 0, 0))
        if route == "in":
            arrows.append(Arrow(((b.x + 20, b.y - 40), (b.x + 20, b.y)), label, (b.x, b.y - 46)))
        elif route == "out":
            arrows.append(Arrow(((a.x + 40, a.bottom), (a.x + 40, a.bottom + 30)), label, (a.x + 48, a.bottom + 22)))
        elif route == "right":
            y = max(a.y, b.y) + slot(end, "left")
            if y > a.bottom - 6:  # the target is lower: leave by the lowest point of the side
                arrows.append(Arrow(((a.right, a.bottom - 10), (b.x, y)), label, (b.x - 6, y + 12), "end"))
            else:
                arrows.append(Arrow(((a.right, y), (b.x, y)), label, ((a.right + b.x) // 2, y - 4), "middle"))
        elif route == "over":
            rail = RAIL - RAIL_STEP * (used.get((start, "top"), 0))
            x, enter = a.right - slot(start, "top"), b.x + slot(end, "top")
            arrows.append(Arrow(((x, a.y), (x, rail), (enter, rail), (enter, b.y)), label, (a.right + 10, rail - 4)))
        elif route == "below":
            x = a.x + 40
            y = b.y + slot(end, "left")
            arrows.append(Arrow(((x, a.bottom), (x, y), (b.x, y)), label, (x + 8, y - 4)))
        elif route == "up":
            y, x = a.y + 24, b.right - 20
            arrows.append(Arrow(((a.right, y), (x, y), (x, b.bottom)), label, (a.right + 10, y - 4)))
        else:
            x = a.x + a.width // 2
            arrows.append(Arrow(((x, a.bottom), (x, b.y)), label, (x + 6, (a.bottom + b.y) // 2)))
    return arrows


def draw() -> str:
    """The picture as SVG."""
    placed = boxes()
    width, height = CANVAS
    body = [line for arrow in _arrows(placed) for line in arrow.svg()]
    body += [line for stage, box in placed.items() for line in _box(stage, box)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-labelledby="t">',
            '<title id="t">The stages of Minamoto, their rooms (with numbers of files) and the artifacts between them</title>',
            f"<style>{STYLE}</style>",
            '<defs><marker id="h" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0,0 L8,4 L0,8 z" fill="#b5482f"/></marker></defs>',
            f'<rect width="{width}" height="{height}" fill="#fff"/>',
            *body,
            "</svg>\n",
        ]
    )


def opened_artifacts(stage: str) -> set[str]:
    """Names of the artifact folders that a stage's code opens by a literal name: `run.root("corpus")`."""
    names = set()
    for path in sorted((ROOT / stage).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "root":
                names |= {a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)}
    return names


if __name__ == "__main__":
    Path(PICTURE).write_text(draw(), "utf-8")
    print(f"{PICTURE.relative_to(ROOT)}: {len(STAGES)} stages")
