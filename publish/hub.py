"""The only file that talks to the Hub. Every step looks at what is there first, so any of them can be repeated."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from pipeline.errors import ConfigError, CorruptArtifact, ExternalServiceError, PipelineError
from pipeline.progress import echo
from publish.plan import Plan, Upload
from publish.settings import PublishSettings

T = TypeVar("T")

# The Hub writes this file itself; it says which files are stored as LFS.
HUBS_OWN = frozenset({".gitattributes"})
# Refused for now, worth another try: the branch moved (412), too many requests (429), the server's own troubles.
TRY_AGAIN = frozenset({408, 409, 412, 429, 500, 502, 503, 504})
MAX_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Published:
    """What the Hub holds now."""

    url: str
    commits: dict[str, str]  # branch -> commit
    changed: bool  # whether anything had to be sent


class Hub:
    """One repository, as one publisher sees it."""

    def __init__(self, settings: PublishSettings) -> None:
        if not get_token():
            raise ConfigError("no Hugging Face token: set HF_TOKEN to one with write access, or run `hf auth login`")
        self.api, self.repo_id = HfApi(library_name="minamoto"), settings.repo_id
        self._attempts, self._wait = settings.attempts, settings.wait_seconds

    def publish(self, plan: Plan) -> Published:
        """Make the repository hold exactly `plan`, and check what it holds.

        Raises: ConfigError if the repository or tag that stands contradicts the plan; ExternalServiceError if the
            Hub refuses or stays out of reach; CorruptArtifact if it does not hold what was sent.
        """
        self._repository(plan)
        tagged = self._tagged(plan)
        changed, commits = False, {}
        for branch in plan.branches:
            if branch != "main":
                self._try(f"branch {branch}", lambda b=branch: self.api.create_branch(self.repo_id, branch=b, exist_ok=True))
            changed |= self._try(f"commit to {branch}", lambda b=branch: self._commit(plan, b))
            if wrong := self._differences(plan, branch):
                raise CorruptArtifact(
                    f"{self.repo_id}@{branch}: {len(wrong)} file(s) differ from what was sent, first {wrong[0]}"
                )
            commits[branch] = self._head(branch)
        if plan.tag and not tagged:
            first = commits[plan.branches[0]]
            self._try(f"tag {plan.tag}", lambda: self.api.create_tag(self.repo_id, tag=plan.tag, revision=first, exist_ok=True))
            changed = True
        return Published(f"{self.api.endpoint}/{self.repo_id}", commits, changed)

    def _repository(self, plan: Plan) -> None:
        """Make sure that the repository stands and is as private as the run file says."""
        visibility = "private" if plan.private else "public"

        def create() -> bool | None:
            try:
                return self.api.repo_info(self.repo_id).private
            except RepositoryNotFoundError as error:
                if error.response.status_code == 401:  # the Hub hides private repositories from a bad token
                    self.api.whoami()
            self.api.create_repo(self.repo_id, private=plan.private, exist_ok=True)
            return self.api.repo_info(self.repo_id).private

        private = self._try("repository", create)
        if bool(private) != plan.private:
            stands = "private" if private else "public"
            raise ConfigError(f"{self.repo_id} is {stands}, the run file wants it {visibility}; change one of the two")

    def _tagged(self, plan: Plan) -> bool:
        """Whether the plan's tag stands, with the plan's content."""
        if not plan.tag:
            return False
        tags = {tag.name for tag in self._try("tags", lambda: self.api.list_repo_refs(self.repo_id)).tags}
        if plan.tag not in tags:
            return False
        if self._differences(plan, plan.tag):
            raise ConfigError(f"{self.repo_id}: tag {plan.tag!r} stands and holds something else; choose a new [publish] tag")
        return True

    def _head(self, revision: str) -> str:
        return self._try("head", lambda: self.api.repo_info(self.repo_id, revision=revision)).sha or ""

    def _remote(self, revision: str) -> dict[str, RepoFile]:
        tree = self._try("files", lambda: list(self.api.list_repo_tree(self.repo_id, recursive=True, revision=revision)))
        return {entry.path: entry for entry in tree if isinstance(entry, RepoFile) and entry.path not in HUBS_OWN}

    def _differences(self, plan: Plan, revision: str) -> list[str]:
        """Paths where the Hub does not hold what the plan says: missing, other content, or not in the plan."""
        remote = self._remote(revision)
        planned = {upload.path: upload for upload in plan.uploads}
        return sorted(
            path for path in planned.keys() | remote.keys() if path not in planned or not _same(planned[path], remote.get(path))
        )

    def _commit(self, plan: Plan, branch: str) -> bool:
        """Send what differs in one commit on top of the head we looked at; False if nothing differs.

        After a lost reply the next attempt finds the commit in place and sends nothing: never two commits.
        """
        head = self._head(branch)
        differing = set(self._differences(plan, head))
        if not differing:
            return False
        adding = [upload for upload in plan.uploads if upload.path in differing]
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationAdd(upload.path, str(upload.content) if isinstance(upload.content, Path) else upload.content)
            for upload in adding
        ]
        operations += [CommitOperationDelete(path) for path in sorted(differing - {upload.path for upload in adding})]
        self.api.create_commit(self.repo_id, operations, commit_message=plan.message, revision=branch, parent_commit=head)
        return True

    def _try(self, what: str, call: Callable[[], T]) -> T:
        """Call until it succeeds, waiting longer each time; errors that waiting cannot mend end it at once."""
        for attempt in range(1, self._attempts + 1):
            try:
                return call()
            except (httpx2.HTTPError, OSError, RuntimeError) as error:
                cause = _cause(error)
                if cause is None:
                    raise
                if attempt == self._attempts or not _passes(cause):
                    raise self._explained(what, cause) from error
                wait = _retry_after(cause) or self._wait * 2 ** (attempt - 1)
                echo(f"Hub: {what} に失敗しました ({_short(cause)})。{min(wait, MAX_WAIT_SECONDS):.0f} 秒後にやり直します")
                time.sleep(min(wait, MAX_WAIT_SECONDS))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _explained(self, what: str, error: Exception) -> PipelineError:
        where = f"{self.api.endpoint}, {self.repo_id}, {what}"
        if isinstance(error, OfflineModeIsEnabled):
            return ConfigError(f"{where}: HF_HUB_OFFLINE is set; unset it to publish")
        if not isinstance(error, HfHubHTTPError):
            return ExternalServiceError(f"{where}: the Hub does not answer ({_short(error)}); check the network and try again")
        status = error.response.status_code
        advice = {
            401: "the token is not valid; make a new one and set HF_TOKEN",
            403: "the token may not write there; use one with write access to this owner",
            404: "no such repository or revision, or the token may not see it",
        }.get(status, "try again later; what was sent is not sent twice")
        return ExternalServiceError(f"{where}: HTTP {status} ({_short(error)}); {advice}")


def _same(upload: Upload, remote: RepoFile | None) -> bool:
    """Whether the Hub's file has our bytes, by the hash that it reports."""
    if remote is None or remote.size != upload.size:
        return False
    return remote.lfs.sha256 == upload.sha256 if remote.lfs else remote.blob_id == upload.git_oid()


def _cause(error: BaseException | None) -> Exception | None:
    """The HTTP or network error that caused `error`: huggingface_hub wraps those of file uploads in RuntimeError."""
    while error is not None and not isinstance(error, httpx2.HTTPError | OfflineModeIsEnabled):
        error = error.__cause__
    return error


def _passes(error: Exception) -> bool:
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in TRY_AGAIN
    return isinstance(error, httpx2.TransportError)


def _retry_after(error: Exception) -> float | None:
    value = error.response.headers.get("Retry-After", "") if isinstance(error, HfHubHTTPError) else ""
    return float(value) if value.isdigit() else None


def _short(error: Exception) -> str:
    text = (error.server_message if isinstance(error, HfHubHTTPError) else None) or str(error) or type(error).__name__
    return text.strip().splitlines()[0][:120]
