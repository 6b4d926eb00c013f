"""`[corpus.base]` of a run file: the corpus to extend, and which of its documents are left out."""

from dataclasses import dataclass

from pipeline.runfile import field

# What an entry of `remove` may begin with; `corpus.increment.removals` says what each means.
SELECTORS = ("doc:", "url:", "host:", "file:")


@dataclass(frozen=True)
class BaseSettings:
    """`[corpus.base]`: the run whose corpus is extended, and what of it stays out.

    Neither is part of the recipe as it is: the base's digest and the digest of the list are inputs.
    """

    run: str = field("", identity=False)  # its artifact is beside this run's: artifacts/corpus/<run>; "": no base
    remove: tuple[str, ...] = field((), identity=False)  # "doc:<id>", "url:<url>", "host:<host>", "file:<path of such lines>"

    def __post_init__(self) -> None:
        if self.remove and not self.run:
            raise ValueError('remove names documents of a base; set run = "<name of the run>" too')
        for entry in self.remove:
            if not entry.startswith(SELECTORS) or not entry.partition(":")[2].strip():
                raise ValueError(f"remove: {entry!r} is none of doc:<id>, url:<url>, host:<host>, file:<path>")
