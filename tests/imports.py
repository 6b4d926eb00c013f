"""The import graph of the project, read from the syntax trees: imports in functions and under TYPE_CHECKING count too."""

import ast
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
STAGES = ("pipeline", "corpus", "tokenizer", "pretrain", "finetune", "search", "bots", "publish")
Graph = dict[str, set[str]]


def module_name(path: Path) -> str:
    """Dotted name of a file of the project."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules(packages: tuple[str, ...] = STAGES) -> dict[str, Path]:
    """Every module of some top-level packages, by name."""
    return {module_name(path): path for package in packages for path in sorted((ROOT / package).rglob("*.py"))}


def imported_names(path: Path) -> set[str]:
    """Dotted names that a file imports: modules, and names inside modules."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def module_graph(packages: tuple[str, ...] = STAGES) -> Graph:
    """Which modules each module imports; a name inside a module counts as the module."""
    known = modules(packages)
    graph: Graph = {}
    for module, path in known.items():
        targets = set()
        for name in imported_names(path):
            while name and name not in known:
                name = name.rpartition(".")[0]
            targets.add(name)
        graph[module] = targets - {"", module}
    return graph


def room_of(module: str, known: Mapping[str, Path]) -> str:
    """The folder of a module; a file at the top of a stage is a room of its own."""
    folder = known[module].parent.relative_to(ROOT)
    return module if len(folder.parts) == 1 else ".".join(folder.parts)


def room_graph(packages: tuple[str, ...] = STAGES) -> Graph:
    """Which rooms each room imports; a package's `__init__.py` belongs to its folder."""
    known, graph = modules(packages), {}
    for module, targets in module_graph(packages).items():
        room = room_of(module, known)
        graph.setdefault(room, set()).update(room_of(target, known) for target in targets)
    return {room: targets - {room} for room, targets in graph.items()}


def circles(graph: Graph) -> list[list[str]]:
    """Groups of nodes that reach each other (strongly connected components of two or more), by Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(graph.get(node, ())):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            at = stack.index(node)
            group = stack[at:]
            del stack[at:]
            if len(group) > 1:
                groups.append(sorted(group))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return groups


def python_files_per_room(folders: Iterable[Path]) -> dict[str, int]:
    """Number of Python files directly in each folder, `__init__.py` not counted."""
    return {
        folder.relative_to(ROOT).as_posix(): sum(path.name != "__init__.py" for path in folder.glob("*.py"))
        for folder in folders
    }
