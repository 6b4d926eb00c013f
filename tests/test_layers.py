"""The shape of the house: imports point one way, no circle, small rooms, short functions, stages light to import."""

import ast
import importlib.util
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from tests.imports import ROOT, STAGES, circles, imported_names, module_graph, modules, python_files_per_room, room_graph

# Stage -> what it may import of the others.
ALLOWED: dict[str, set[str]] = {
    "pipeline": set(),
    "corpus": {"pipeline"},
    "tokenizer": {"pipeline"},
    "pretrain": {"pipeline", "tokenizer"},
    "finetune": {"pipeline", "tokenizer"},
    "search": {"pipeline", "tokenizer"},
    "bots": {"pipeline", "search"},
    "publish": {"pipeline"},
}
HEAVY = ("torch", "ray", "megatron", "transformers", "faiss", "slack_bolt", "datasets", "numba", "trl", "peft")
MAX_FILES, MEDIAN_FILES, MAX_LINES, MAX_FUNCTION_LINES = 14, 8, 400, 60
EVERYTHING = (*STAGES, "benchmarks", "tests")


def folders() -> list[Path]:
    """Every folder with Python files."""
    return sorted({path.parent for package in EVERYTHING for path in (ROOT / package).rglob("*.py")})


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_point_one_way(package: str) -> None:
    for path in sorted((ROOT / package).rglob("*.py")):
        for name in imported_names(path):
            top = name.split(".")[0]
            if top == package or top not in ALLOWED or top in ALLOWED[package]:
                continue
            allowed = any(name == rule or name.startswith(rule + ".") for rule in ALLOWED[package])
            assert allowed, f"{path.relative_to(ROOT)} imports {name}; {package} may import {sorted(ALLOWED[package])}"


def test_no_module_and_no_room_imports_itself_through_others() -> None:
    assert circles(module_graph()) == []
    assert circles(room_graph()) == []


def test_a_circle_is_found() -> None:
    graph = {"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": {"e"}, "e": {"d"}, "f": {"a", "d"}}
    assert sorted(circles(graph)) == [["a", "b", "c"], ["d", "e"]]


def test_rooms_are_small() -> None:
    files = python_files_per_room(folders())
    assert {room: count for room, count in files.items() if count > MAX_FILES} == {}
    assert statistics.median(files.values()) <= MEDIAN_FILES


def test_files_and_functions_are_short() -> None:
    long = []
    for package in EVERYTHING:
        for path in sorted((ROOT / package).rglob("*.py")):
            text = path.read_text("utf-8")
            if text.count("\n") > MAX_LINES:
                long.append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    lines = (node.end_lineno or 0) - node.lineno + 1
                    if lines > MAX_FUNCTION_LINES:
                        long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines} lines")
    assert long == []


def test_only_shards_imports_ray() -> None:
    for name, path in modules().items():
        assert name == "pipeline.shards" or "ray" not in {found.split(".")[0] for found in imported_names(path)}, name


@pytest.mark.parametrize("package", ALLOWED)
def test_package_is_ours_and_light(package: str) -> None:
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None and Path(spec.origin).is_relative_to(ROOT)
    code = f"import sys, {package}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_module_is_in_a_package() -> None:
    for folder in folders():
        assert (folder / "__init__.py").exists(), folder
