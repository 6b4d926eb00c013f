"""The index over HTTP: what `make search`, `trace` and `exposure` answer, as JSON; the OpenAPI schema is at /openapi.json."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError
from fastapi.requests import Request
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel, Field

from pipeline.errors import BadInput
from search.hits import Mode
from search.provenance.exposure import BUCKETS, measure_exposure
from search.provenance.trace import TraceSettings, trace_text
from search.query_text import normalize_text
from search.searcher import Searcher
from search.server.guard import Guard

# Longer queries are traces; a longer text than a trace takes is no answer of a model.
MAX_QUERY, MAX_TRACE = 10_000, 100_000
MAX_HITS, MAX_BUCKETS = 100, 1000

_Text = Annotated[str, Query(min_length=1, max_length=MAX_QUERY, description="text to look for")]


class _Trace(BaseModel, extra="forbid"):
    """What is traced; a misspelt option is an error, not ignored."""

    text: Annotated[str, Field(min_length=1, max_length=MAX_TRACE, description="a model's answer")]
    min_chars: Annotated[int, Field(ge=1, description="characters of a part")] = TraceSettings.min_chars
    documents: Annotated[int, Field(ge=0, le=MAX_HITS, description="documents shown at most")] = TraceSettings.documents


def make_app(searcher: Searcher, token: str | None = None, hosts: frozenset[str] = frozenset()) -> Guard:
    """The ASGI application.

    Args:
        token, hosts: as of `Guard`.
    """
    app = FastAPI(
        title="Minamoto search",
        version="1",
        description="Every hit says where it comes from and in which training iterations it was read.",
        dependencies=[Depends(HTTPBearer(auto_error=False)), Depends(_refuse_unknown)],
        docs_url=None,  # the page would load scripts from elsewhere
        redoc_url=None,
    )

    app.include_router(_count_routes(searcher))
    app.include_router(_provenance_routes(searcher))

    @app.exception_handler(BadInput)
    def refuse(request: Request, error: BadInput) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 422)

    @app.exception_handler(RequestValidationError)
    def explain(request: Request, error: RequestValidationError) -> JSONResponse:
        # Without what was sent: it may be as long as a body, or a number that JSON does not have.
        rows = [{"loc": [str(part) for part in row["loc"]], "msg": row["msg"], "type": row["type"]} for row in error.errors()]
        return JSONResponse({"detail": rows}, 422)

    return Guard(app, token, hosts)


def _refuse_unknown(request: Request) -> None:
    """Raises: BadInput for a parameter that the endpoint does not have: it would be ignored without a word."""
    known = {parameter.alias for parameter in request.scope["route"].dependant.query_params}
    if unknown := sorted(set(request.query_params) - known):
        raise BadInput(f"unknown parameters {unknown[:5]}; {request.url.path} has {sorted(known)}")


def _count_routes(searcher: Searcher) -> APIRouter:
    """What occurs where, and how often."""
    router = APIRouter()

    @router.get("/v1/index")
    def index() -> dict[str, Any]:
        """What is searched: with the digest an answer, "0 of N bytes" too, can be repeated."""
        texts = searcher.texts
        return {
            "index": texts.digest,
            "searched_bytes": texts.searched_bytes,
            "characters": texts.characters,
            "documents": sum(shard.documents - len(shard.removed) for shard in texts.shards),
            "shards": len(texts.shards),
            "total_iterations": searcher.total,
        }

    @router.get("/v1/search")
    def search(
        q: _Text,
        mode: Mode = "ngram",
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_HITS)] = 10,
        checkpoint: Annotated[
            int | None, Query(ge=0, description="say of each hit whether this iteration's model had read it")
        ] = None,
    ) -> dict[str, Any]:
        """One page of hits, best first, each with its document and the iterations of what it shows."""
        if checkpoint is not None and checkpoint > searcher.total:
            raise BadInput(f"checkpoint {checkpoint}: the training has iterations 1 to {searcher.total}")
        return searcher.search(q, mode, offset=offset, limit=limit).as_dict(checkpoint)

    @router.get("/v1/count")
    def count(q: _Text) -> dict[str, Any]:
        """Occurrences of exactly this text, distinct documents, and documents before near-duplicates were left out."""
        texts = searcher.texts
        return texts.spread(normalize_text(q)).as_dict() | {"searched_bytes": texts.searched_bytes, "index": texts.digest}

    @router.get("/v1/next")
    def following(q: _Text) -> dict[str, Any]:
        """Which characters are after the text and how often, most first; "" for the end of a document."""
        texts = searcher.texts
        result = texts.count_following(normalize_text(q)).most_common()
        return {"next": [list(row) for row in result], "total": sum(n for _, n in result), "index": texts.digest}

    return router


def _provenance_routes(searcher: Searcher) -> APIRouter:
    """When it was read."""
    router = APIRouter()

    @router.post("/v1/trace")
    def trace(asked: _Trace) -> dict[str, Any]:
        """Maximal parts of a text that are in the training data word for word, rarest first, with their documents."""
        return trace_text(searcher, asked.text, TraceSettings(min_chars=asked.min_chars, documents=asked.documents)).as_dict()

    @router.get("/v1/exposure")
    def exposed(q: _Text, buckets: Annotated[int, Query(ge=1, le=MAX_BUCKETS)] = BUCKETS) -> dict[str, Any]:
        """When training read the occurrences of a text, by source: every epoch's reading counts."""
        return measure_exposure(searcher, q, buckets=buckets).as_dict()

    @router.get("/v1/documents/{doc_id}")
    def document(doc_id: Annotated[str, PathParameter(pattern="^[0-9a-f]{32}$")]) -> dict[str, Any]:
        """Where a document comes from and the iterations that read any of it."""
        result = searcher.document(doc_id)
        if result is None:
            raise HTTPException(404, f"{doc_id}: no such document in {searcher.texts.digest}")
        return asdict(result)

    return router
