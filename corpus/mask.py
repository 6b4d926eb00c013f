"""Personal data in Japanese text: found exactly, masked by stable placeholders."""

from dataclasses import dataclass

KINDS = ("email", "phone", "address", "my_number", "card", "bank")


@dataclass(frozen=True)
class MaskSettings:
    """`[corpus.mask]`: kinds of personal data to mask; none: switched off."""

    kinds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown or len(set(self.kinds)) != len(self.kinds):
            raise ValueError(f"kinds = {list(self.kinds)}: expected each at most once, of {list(KINDS)}")
