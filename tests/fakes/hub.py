"""A stand-in for the Hugging Face Hub on loopback: enough of its HTTP API for the unmodified huggingface_hub client.

Repositories with commits, branches, tags and LFS files; uploads by pre-signed PUT; downloads with ranges. Faults can be
ordered for any request. Written after the API that huggingface_hub 2.4 speaks (hf_api.py, _commit_api.py, lfs.py).
"""

import asyncio
import base64
import hashlib
import json
import threading
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

LFS_SUFFIXES = (".safetensors", ".bin", ".model")
GIT_ATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES).encode()
DATE = "2026-01-01T00:00:00.000Z"

Fault = int | Literal["drop", "drop_after"]  # a status; or the connection closed before, or after, the work was done
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class File:
    """A file of a commit; `sha256` is set where it is stored as LFS."""

    data: bytes
    sha256: str | None = None

    @property
    def oid(self) -> str:
        """Name of the git blob: of the content, or of the LFS pointer that stands for it."""
        content = self.data
        if self.sha256:
            content = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(content)}\n".encode()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass(frozen=True)
class Commit:
    oid: str
    parent: str | None
    title: str
    files: dict[str, File]


@dataclass
class Repository:
    name: str
    private: bool
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, files: dict[str, File], title: str) -> str:
        """Put a commit on a branch."""
        parent = self.branches.get(branch)
        rows = [parent, title, len(self.commits), sorted((path, file.oid) for path, file in files.items())]
        oid = hashlib.sha1(json.dumps(rows).encode()).hexdigest()
        self.commits[oid] = Commit(oid, parent, title, files)
        self.branches[branch] = oid
        return oid

    def at(self, revision: str) -> Commit:
        """The commit a branch, tag or hash names."""
        oid = self.branches.get(revision) or self.tags.get(revision) or revision
        if oid not in self.commits:
            raise refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[oid]

    def history(self, branch: str) -> list[str]:
        """Titles of a branch's commits, newest first."""
        titles, oid = [], self.branches.get(branch)
        while oid:
            titles.append(self.commits[oid].title)
            oid = self.commits[oid].parent
        return titles


class Refused(Exception):
    """Becomes the error response that the Hub would give."""

    def __init__(self, status: int, message: str, code: str) -> None:
        super().__init__(message)
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self.response = web.json_response({"error": message}, status=status, headers=headers)


def refusal(status: int, message: str, code: str = "") -> Refused:
    return Refused(status, message, code)


class FakeHub:
    """Use as a context manager; `url` is what HF_ENDPOINT must be."""

    def __init__(self, *, token: str = "hf_test", user: str = "tester", organizations: tuple[str, ...] = ("lab",)) -> None:
        self.token, self.user, self.organizations = token, user, organizations
        self.repositories: dict[str, Repository] = {}
        self.blobs: dict[str, bytes] = {}  # LFS store, by sha256
        self.calls: list[str] = []  # "METHOD /path" of every request
        self.url = ""
        self._faults: dict[str, deque[Fault]] = defaultdict(deque)
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "FakeHub":
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)

    def fail(self, part: str, *faults: Fault) -> None:
        """Order faults for the next requests whose "METHOD /path" contains `part`."""
        self._faults[part].extend(faults)

    def writes(self) -> list[str]:
        """Requests that change something."""
        return [c for c in self.calls if not c.startswith(("GET", "HEAD")) and "validate-yaml" not in c]

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application(client_max_size=1 << 30, middlewares=[self._around])
        self._routes(app.router)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    def _routes(self, router: web.UrlDispatcher) -> None:
        model = "/api/models/{owner}/{name}"
        for method, path, handler in (
            ("GET", "/api/whoami-v2", self._whoami),
            ("POST", "/api/repos/create", self._create),
            ("POST", "/api/validate-yaml", self._validate),
            ("GET", model, self._info),
            ("GET", model + "/revision/{revision:.+}", self._info),
            ("GET", model + "/refs", self._refs),
            ("POST", model + "/preupload/{revision:.+}", self._preupload),
            ("POST", model + "/commit/{revision:.+}", self._commit),
            ("POST", model + "/branch/{revision:.+}", self._branch),
            ("POST", model + "/tag/{revision:.+}", self._tag),
            ("GET", model + "/tree/{revision}", self._tree),
            ("GET", model + "/tree/{revision}/{path:.*}", self._tree),
            ("POST", model + "/paths-info/{revision:.+}", self._paths_info),
            ("POST", "/{owner}/{name}.git/info/lfs/objects/batch", self._lfs_batch),
            ("PUT", "/lfs/{oid}", self._lfs_put),
            ("POST", "/lfs-verify", self._lfs_verify),
            ("GET", "/{owner}/{name}/resolve/{revision}/{path:.+}", self._resolve),
        ):
            router.add_route(method, path, handler)
            if method == "GET" and "resolve" in path:
                router.add_route("HEAD", path, handler)

    @web.middleware
    async def _around(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        call = f"{request.method} {request.path}"
        self.calls.append(call)
        fault = next((faults.popleft() for part, faults in self._faults.items() if part in call and faults), None)
        if isinstance(fault, int):
            return web.Response(status=fault, headers={"Retry-After": "1"} if fault == 429 else {}, text="fault")
        try:
            if fault != "drop":
                self._authorize(request)
                response = await handler(request)
                if fault is None:
                    return response
        except Refused as refused:
            return refused.response
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    def _authorize(self, request: web.Request) -> None:
        repository = self.repositories.get(f"{request.match_info.get('owner')}/{request.match_info.get('name')}")
        open_to_all = request.path.startswith("/lfs") or request.path == "/api/validate-yaml"
        reads_public = (
            request.method in ("GET", "HEAD") and "whoami" not in request.path and not (repository and repository.private)
        )
        given = request.headers.get("Authorization")
        if given not in (None, f"Bearer {self.token}") and not open_to_all:
            raise refusal(401, "Invalid credentials in Authorization header")
        if given is None and not (open_to_all or reads_public):
            raise refusal(401, "Repository not found", "RepoNotFound") if repository else refusal(401, "Log in first")

    def _repository(self, request: web.Request) -> Repository:
        name = f"{request.match_info['owner']}/{request.match_info['name']}"
        if name not in self.repositories:
            raise refusal(404, "Repository not found", "RepoNotFound")
        return self.repositories[name]

    def _found(self, request: web.Request) -> Commit:
        return self._repository(request).at(request.match_info.get("revision", "main"))

    async def _whoami(self, request: web.Request) -> web.Response:
        organizations = [{"name": name, "type": "org"} for name in self.organizations]
        return web.json_response({"type": "user", "name": self.user, "orgs": organizations})

    async def _validate(self, request: web.Request) -> web.Response:
        begins = (await request.json())["content"].startswith("---\n")
        errors = [] if begins else [{"message": "empty or missing yaml metadata in repo card"}]
        return web.json_response({"errors": errors, "warnings": []}, status=200 if begins else 400)

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        owner = body.get("organization") or self.user
        if owner not in (self.user, *self.organizations):
            raise refusal(403, f"You don't have the rights to create a model under the namespace {owner!r}")
        name = f"{owner}/{body['name']}"
        if name in self.repositories:
            return web.json_response({"error": "You already created this model repo", "url": f"{self.url}/{name}"}, status=409)
        repository = Repository(name, bool(body.get("private") or body.get("visibility") == "private"))
        repository.commit("main", {".gitattributes": File(GIT_ATTRIBUTES)}, "initial commit")
        self.repositories[name] = repository
        return web.json_response({"url": f"{self.url}/{name}", "name": name, "id": "1"})

    async def _info(self, request: web.Request) -> web.Response:
        repository, commit = self._repository(request), self._found(request)
        return web.json_response(
            {"_id": "1", "id": repository.name, "modelId": repository.name, "sha": commit.oid, "private": repository.private}
            | {"tags": [], "downloads": 0, "likes": 0, "lastModified": DATE, "createdAt": DATE}
            | {"siblings": [{"rfilename": path} for path in commit.files]}
        )

    async def _refs(self, request: web.Request) -> web.Response:
        repository = self._repository(request)

        def rows(kind: str, names: dict[str, str]) -> list[dict[str, str]]:
            return [{"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": oid} for name, oid in names.items()]

        return web.json_response(
            {"branches": rows("heads", repository.branches), "tags": rows("tags", repository.tags), "converts": []}
        )

    async def _preupload(self, request: web.Request) -> web.Response:
        current, rows = self._found(request).files, []
        for row in (await request.json())["files"]:
            path = row["path"]
            mode = "lfs" if path.endswith(LFS_SUFFIXES) else "regular"
            known = {"oid": current[path].sha256 or current[path].oid} if path in current else {}
            rows.append({"path": path, "uploadMode": mode, "shouldIgnore": False} | known)
        return web.json_response({"files": rows})

    async def _lfs_batch(self, request: web.Request) -> web.Response:
        objects: list[dict[str, Any]] = []
        for row in (await request.json())["objects"]:
            entry = {"oid": row["oid"], "size": row["size"], "authenticated": True}
            if row["oid"] not in self.blobs:
                upload = {"href": f"{self.url}/lfs/{row['oid']}", "header": {}}
                entry["actions"] = {"upload": upload, "verify": {"href": f"{self.url}/lfs-verify", "header": {}}}
            objects.append(entry)
        return web.json_response({"transfer": "basic", "objects": objects}, content_type="application/vnd.git-lfs+json")

    async def _lfs_put(self, request: web.Request) -> web.Response:
        data, oid = await request.read(), request.match_info["oid"]
        if hashlib.sha256(data).hexdigest() != oid:
            raise refusal(400, "sha256 of the upload is not the object's name")
        self.blobs[oid] = data
        return web.Response()

    async def _lfs_verify(self, request: web.Request) -> web.Response:
        body = await request.json()
        return web.Response(status=200 if len(self.blobs.get(body["oid"], b"")) == body["size"] else 404)

    async def _commit(self, request: web.Request) -> web.Response:
        repository, branch, head = self._repository(request), request.match_info["revision"], self._found(request)
        if branch not in repository.branches:
            raise refusal(400, f"{branch} is not a branch")
        files, title = dict(head.files), ""
        for line in (await request.read()).splitlines():
            operation = json.loads(line)
            key, value = operation["key"], operation["value"]
            if key == "header":
                title = value["summary"]
                if value.get("parentCommit", head.oid) != head.oid:
                    raise refusal(412, "A commit has happened since. Please refresh and try again.")
            elif key == "file":
                files[value["path"]] = File(base64.b64decode(value["content"]))
            elif key == "lfsFile":
                if value["oid"] not in self.blobs:
                    raise refusal(400, f"LFS pointer pointed to a file that does not exist: {value['oid']}")
                files[value["path"]] = File(self.blobs[value["oid"]], value["oid"])
            elif key == "deletedFile":
                del files[value["path"]]
        oid = repository.commit(branch, files, title)
        url = f"{self.url}/{repository.name}/commit/{oid}"
        return web.json_response({"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""})

    async def _branch(self, request: web.Request) -> web.Response:
        repository, name = self._repository(request), request.match_info["revision"]
        body = await request.json() if request.can_read_body else {}
        if name in repository.branches:
            raise refusal(409, f"Reference already exists: {name}")
        repository.branches[name] = repository.at(body.get("startingPoint") or "main").oid
        return web.json_response({})

    async def _tag(self, request: web.Request) -> web.Response:
        repository, name = self._repository(request), (await request.json())["tag"]
        if name in repository.tags:
            raise refusal(409, f"Tag reference exists already: {name}")
        repository.tags[name] = self._found(request).oid
        return web.json_response({})

    async def _tree(self, request: web.Request) -> web.Response:
        prefix = request.match_info.get("path", "")
        return web.json_response([_entry(p, f) for p, f in sorted(self._found(request).files.items()) if p.startswith(prefix)])

    async def _paths_info(self, request: web.Request) -> web.Response:
        form = await request.post()
        paths = form.getall("paths", []) if form else (await request.json())["paths"]
        files = self._found(request).files
        return web.json_response([_entry(str(path), files[str(path)]) for path in paths if path in files])

    async def _resolve(self, request: web.Request) -> web.Response:
        commit = self._found(request)
        file = commit.files.get(request.match_info["path"])
        headers = {"X-Repo-Commit": commit.oid}
        if file is None:
            headers |= {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
            return web.Response(status=404, headers=headers)
        headers |= {"ETag": f'"{file.oid}"', "Accept-Ranges": "bytes"}
        if file.sha256:
            headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.data))}
        if "Range" not in request.headers:
            return web.Response(body=file.data, headers=headers)
        begin, _, end = request.headers["Range"].removeprefix("bytes=").partition("-")
        part = file.data[int(begin) : int(end) + 1 if end else None]
        headers["Content-Range"] = f"bytes {begin}-{int(begin) + len(part) - 1}/{len(file.data)}"
        return web.Response(status=206, body=part, headers=headers)


def _entry(path: str, file: File) -> dict[str, Any]:
    lfs = {"lfs": {"oid": file.sha256, "size": len(file.data), "pointerSize": 134}} if file.sha256 else {}
    return {"type": "file", "oid": file.oid, "size": len(file.data), "path": path} | lfs
