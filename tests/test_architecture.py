"""docs/architecture.md and its picture are what the tree and its imports are."""

import re

from tests.architecture import FLOW, PICTURE, draw, opened_artifacts
from tests.imports import ROOT, STAGES, room_graph

ROW = re.compile(r"^\| `([\w/]+)/` \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
EVERY_ROOM, NOBODY = "every room", "nobody"


def folder_of(room: str) -> str:
    """The folder of a room; files at the top of a stage belong to the stage's folder."""
    path = room.replace(".", "/")
    return path if (ROOT / path).is_dir() else path.split("/")[0]


def importers() -> dict[str, set[str]]:
    """Folder -> the other folders that import it."""
    found: dict[str, set[str]] = {folder_of(room): set() for room in room_graph()}
    for room, targets in room_graph().items():
        for target in targets:
            if folder_of(room) != folder_of(target):
                found[folder_of(target)].add(folder_of(room))
    return found


def test_the_table_names_every_room_and_who_imports_it() -> None:
    rows = ROW.findall((ROOT / "docs" / "architecture.md").read_text("utf-8"))
    actual = importers()
    assert sorted(room for room, *_ in rows) == sorted(actual)
    for room, _, _, named in rows:
        if named == EVERY_ROOM:
            continue
        allowed = set() if named == NOBODY else set(re.findall(r"`([\w/]+)`", named))
        assert actual[room] == allowed, f"{room}/ is imported by {sorted(actual[room])}, docs/architecture.md says {named}"


def test_the_picture_is_drawn_from_the_tree() -> None:
    assert PICTURE.read_text("utf-8") == draw(), "run `make architecture`"


def test_the_arrows_are_the_artifacts_that_stages_open() -> None:
    makers = {"fetch": "corpus", "corpus": "corpus", "tokenizer": "tokenizer", "pack": "pretrain", "pretrain": "pretrain"}
    makers |= {"finetune": "finetune", "lora": "finetune", "index": "search"}
    for stage in STAGES:
        drawn = {name.strip() for start, end, label, _ in FLOW if start and end == stage for name in label.split(",")}
        opened = {name for name in opened_artifacts(stage) if makers.get(name, stage) != stage}
        assert opened <= drawn, f"{stage} opens {sorted(opened - drawn)}, which the picture does not show"


def test_every_room_lists_its_files() -> None:
    for room in importers():
        docs = (ROOT / room / "__init__.py").read_text("utf-8")
        files = [path.name for path in (ROOT / room).glob("*.py") if path.name != "__init__.py"]
        missing = [name for name in files if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", docs)]
        assert missing == [], f"{room}/__init__.py does not list {missing}"
        listed = re.findall(r"(?<![\w/])(\w+\.py)\b", docs.split('"""')[1])
        gone = [name for name in listed if not list((ROOT / room).rglob(name)) and not (ROOT / "pipeline" / name).exists()]
        assert gone == [], f"{room}/__init__.py lists {gone}, which do not exist"
