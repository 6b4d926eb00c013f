"""What the documents and the docstrings name exists: files, links, modules, make verbs."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.imports import ROOT, STAGES, modules

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "finetune").rglob("*.md")])
TOP_FOLDERS = {path.name for path in ROOT.iterdir() if path.is_dir()} - {"artifacts", "cache"}
# A path of the repository: a folder of the top level, then names; ends before punctuation.
PATH = re.compile(rf"(?<![\w/.$…<-])(?:{'|'.join(sorted(map(re.escape, TOP_FOLDERS)))})/[\w./*-]*[\w/*]")
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
MODULE = re.compile(r"python -m ([a-z_]+(?:\.[a-z_0-9]+)*)")
VERB = re.compile(r"\bmake ([a-z][a-z0-9-]*)")
DOTTED = re.compile(rf"`((?:{'|'.join((*STAGES, 'benchmarks', 'tests'))})(?:\.\w+)+)(?:\(\))?`")
# Names with a dot that are no modules: a file of the tokenizer, tables of a run file.
NO_MODULES = {"tokenizer.model", "corpus.rules", "corpus.base", "pretrain.model", "pretrain.guard"}
PLACEHOLDERS = {"runs/name.toml", "runs/名前.toml"}
PROSE_AFTER_MAKE = {"it", "the", "a", "sure", "stage"}  # English after the verb "make"


def identity(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("document", DOCUMENTS, ids=identity)
def test_links_and_files_exist(document: Path) -> None:
    text = document.read_text("utf-8")
    missing = [link for link in LINK.findall(text) if not (document.parent / link).exists()]
    for name in set(PATH.findall(text)) - PLACEHOLDERS:
        if not list(ROOT.glob(name.rstrip("/"))) and not (document.parent / name).exists():
            missing.append(name)
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=identity)
def test_modules_exist(document: Path) -> None:
    known = set(modules((*STAGES, "benchmarks", "tests")))
    named = [
        name for name in MODULE.findall(document.read_text("utf-8")) if name.split(".")[0] in (*STAGES, "benchmarks", "tests")
    ]
    assert [name for name in named if name not in known] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=identity)
def test_make_verbs_exist(document: Path) -> None:
    helped = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    verbs = {line.split()[0] for line in helped.splitlines()}
    code = " ".join(re.findall(r"`[^`]+`|```.*?```", document.read_text("utf-8"), re.DOTALL))
    named = set(VERB.findall(code)) - PROSE_AFTER_MAKE
    unknown = {name for name in named if name not in verbs and not name.startswith("clean-")}
    assert unknown == set()


def names_in(path: Path) -> set[str]:
    """Names that a module defines or imports, at any depth."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).split(".")[-1])
    return names


def test_modules_and_names_in_docstrings_and_comments_exist() -> None:
    known = modules((*STAGES, "benchmarks", "tests"))
    unknown = []
    for path in known.values():
        for name in DOTTED.findall(path.read_text("utf-8")):
            module, _, last = name.rpartition(".")
            while module and module not in known:  # a method: the class is what its module defines
                module, _, last = module.rpartition(".")
            if name not in known and name not in NO_MODULES and (not module or last not in names_in(known[module])):
                unknown.append(f"{path.relative_to(ROOT)}: {name}")
    assert unknown == []
