"""Imports point one way, stages stay light to import, and no installed package owns one of our names."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED: dict[str, set[str]] = {
    "pipeline": set(),
    "corpus": {"pipeline"},
    "tokenizer": {"pipeline"},
    "pretrain": {"pipeline", "tokenizer"},
    "finetune": {"pipeline", "tokenizer"},
    "search": {"pipeline", "tokenizer", "pretrain.order"},
    "bots": {"pipeline", "search"},
    "publish": {"pipeline"},
}
HEAVY = ("torch", "ray", "megatron", "transformers", "faiss", "slack_bolt", "datasets", "numba", "trl", "peft")


def ours(path: Path) -> set[str]:
    """Dotted names of our own modules that a file imports, at any depth."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} if "." in node.module else {f"{node.module}.{a.name}" for a in node.names} | {node.module}
    return {n for n in names if n.split(".")[0] in ALLOWED}


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_point_one_way(package: str) -> None:
    for path in sorted((ROOT / package).rglob("*.py")):
        for name in ours(path):
            top = name.split(".")[0]
            if top == package or top in ALLOWED[package]:
                continue
            allowed = any(
                rule == name or rule.startswith(name + ".") or name.startswith(rule + ".") for rule in ALLOWED[package]
            )
            assert allowed, f"{path.relative_to(ROOT)} imports {name}; {package} may import {sorted(ALLOWED[package])}"


def test_only_shards_imports_ray() -> None:
    for package in ALLOWED:
        for path in (ROOT / package).rglob("*.py"):
            tree = ast.parse(path.read_text("utf-8"))
            names = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
            names |= {(n.module or "").split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
            assert "ray" not in names or path.name == "shards.py", path


@pytest.mark.parametrize("package", ALLOWED)
def test_package_is_ours_and_light(package: str) -> None:
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None and Path(spec.origin).is_relative_to(ROOT)
    code = f"import sys, {package}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_module_is_in_a_package() -> None:
    for package in [*ALLOWED, "tests"]:
        for path in (ROOT / package).rglob("*.py"):
            assert (path.parent / "__init__.py").exists(), path
