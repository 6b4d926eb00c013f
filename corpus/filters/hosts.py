"""Where a page comes from: hosts, and the lists of a preset that say which are welcome."""

import functools
from dataclasses import dataclass
from urllib.parse import urlparse

# Addresses whose split is remembered: neighbours in a crawl share hosts, and a source's url may be asked for twice.
_REMEMBERED = 1 << 14


@dataclass(frozen=True)
class HostLists:
    """`[hosts]` of a preset; empty lists allow everything and deny nothing."""

    allow_last_labels: tuple[str, ...] = ()  # "jp": the last label of the host, as LLM-jp calls a domain valid
    deny: tuple[str, ...] = ()  # "wikipedia.org": that host and every host below it
    deny_prefixes: tuple[str, ...] = ()  # "https://ja.wikipedia.org/": what the address starts with
    extensions: tuple[str, ...] = ()  # "py", "Makefile": of the last part of the path

    def allowed(self, url: str) -> bool:
        """Whether the last label of the address's host is on the allow list; an address without a host is not."""
        return not self.allow_last_labels or host_of(url).rpartition(".")[2] in self.allow_last_labels

    def denied(self, url: str) -> bool:
        """Whether the address starts with a denied prefix or its host is, or is below, a denied one."""
        if self.deny_prefixes and url.startswith(self.deny_prefixes):
            return True
        host = host_of(url) if self.deny else ""
        return any(host == name or host.endswith(f".{name}") for name in self.deny)

    def extension_allowed(self, url: str) -> bool:
        """Whether the file's extension, or its whole name where it has none, is on the list; case counts (.c is not .C)."""
        return not self.extensions or extension_of(url) in self.extensions


NO_HOSTS = HostLists()


@functools.lru_cache(maxsize=_REMEMBERED)
def host_of(url: str) -> str:
    """Host of an address, lower case, without port and user; "" where it has none or is no address."""
    try:
        return urlparse(url).hostname or ""
    except ValueError:  # "http://[::1": brackets that do not close
        return ""


def extension_of(url: str) -> str:
    """What is after the last dot of the last part of the path, or that whole part where it has no dot."""
    name = url.partition("#")[0].partition("?")[0].rpartition("/")[2]
    return name.rpartition(".")[2]
