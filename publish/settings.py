"""`[publish]` of a run file."""

import re
from dataclasses import dataclass
from typing import Literal

from pipeline.runfile import field

# huggingface_hub's rule for a name: letters, digits and -_. with no -- or .. and no such mark at either end.
_NAME = r"(?!.*(?:--|\.\.))[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9])?"
# Git's rule for a reference, as far as anyone should need it.
_REFERENCE = r"(?!.*\.\.)[A-Za-z0-9][\w.-]*"

Stage = Literal["pretrain", "finetune", "lora"]


@dataclass(frozen=True)
class PublishSettings:
    """What is published, where, and under which licence."""

    repo_id: str  # "owner/name"
    licence: str  # of the weights: an identifier the Hub knows ("apache-2.0"), or "other"
    stage: Stage = "finetune"
    private: bool = True
    branch: str = ""  # default: step-N for pretrain, <stage>-step-N for the others
    main: bool = True  # put the same files on main too, which from_pretrained loads by default
    tag: str = ""  # a release; a tag that stands is never moved
    title: str = ""  # heading of the card; default: the repository's name
    summary: str = ""  # the card's first paragraph
    base_model: str = ""  # Hub id of the base, where it is published too
    attempts: int = field(6, identity=False)  # tries of a request that the Hub did not answer or refused for now
    wait_seconds: float = field(1.0, identity=False)  # before the second try; doubled for each further one

    def __post_init__(self) -> None:
        if not re.fullmatch(f"{_NAME}/{_NAME}", self.repo_id):
            raise ValueError(f"repo_id {self.repo_id!r}: expected 'owner/name' of letters, digits, '-', '_' and '.'")
        for name, value in (("branch", self.branch), ("tag", self.tag)):
            if value and not re.fullmatch(_REFERENCE, value):
                raise ValueError(f"{name} {value!r}: expected letters, digits, '-', '_' and '.', for example 'v1.0'")
        if not self.licence:
            raise ValueError("licence is empty: name the licence of the weights, for example 'apache-2.0'")
        if self.attempts < 1 or self.wait_seconds < 0:
            raise ValueError("need attempts >= 1 and wait_seconds >= 0")
