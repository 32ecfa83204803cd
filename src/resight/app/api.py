"""The HTTP API: embed an image, search the gallery with one or with a vector, pictures by id, answers as CSV."""

import html
import json
import math
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from resight import __version__
from resight.app.filters import where_of
from resight.app.guard import Guard
from resight.app.uploads import RefusedUpload
from resight.app.workplace import Workplace
from resight.errors import ConfigError, GalleryError, ResightError, ShapeError
from resight.gallery.queries import Queries
from resight.gallery.searching import as_json

OPENAPI = "/api/openapi.json"

MEDIA = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}

MOST_TOP = 1000
"""Most hits that one call gives."""

DESCRIPTION = (
    "Everything is computed on the machine that runs the app; uploads are not kept. Where a token is needed it is sent "
    "as the header 'Authorization: Bearer TOKEN'. Errors are JSON with one sentence under 'error'."
)

IMAGE: dict[str, Any] = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "properties": {"image": {"type": "string", "format": "binary"}},
            "required": ["image"],
        }
    },
    "image/*": {"schema": {"type": "string", "format": "binary"}},
}

VECTOR: dict[str, Any] = {
    "application/json": {
        "schema": {
            "type": "object",
            "properties": {"vector": {"type": "array", "items": {"type": "number"}}},
            "required": ["vector"],
        }
    }
}

Top = Annotated[int, Query(ge=1, le=MOST_TOP, description="How many hits.")]
Camera = Annotated[str | None, Query(description="Only these cameras, e.g. 1,2.")]
After = Annotated[str | None, Query(description="Only from this time on: a number or an ISO date.")]
Before = Annotated[str | None, Query(description="Only before this time.")]
Type = Annotated[
    str | None, Query(description="Only these types, e.g. person,vehicle; one with a comma in double quotes.")
]
SourceWords = Annotated[str | None, Query(description="Only these sources, written as types are.")]


def make_app(workplace: Workplace, token: str | None = None) -> FastAPI:
    """Make the application with the API; pages come beside it. `token`: see `guard.Guard`."""
    app = FastAPI(
        title="resight",
        version=__version__,
        description=DESCRIPTION,
        openapi_url=OPENAPI,
        docs_url=None,  # FastAPI's pages load scripts from elsewhere
        redoc_url=None,
    )
    app.include_router(make_router(workplace))
    app.add_route("/api/docs", _docs(app), include_in_schema=False)
    for kind, handler in ((ResightError, _said), (HTTPException, _refused), (RequestValidationError, _invalid)):
        app.add_exception_handler(kind, handler)
    app.add_middleware(Guard, token=token)
    return app


def make_router(workplace: Workplace) -> APIRouter:
    """Make the calls."""
    router = APIRouter()

    @router.get("/api/health", summary="Whether it runs, and with what")
    async def health() -> dict[str, Any]:
        gallery = workplace.gallery
        return {
            "status": "ok",
            "version": __version__,
            "model": workplace.fingerprint,
            "dim": workplace.asking.embedder.dim,
            "entries": None if gallery is None else await run_in_threadpool(len, gallery),
            "calibrated": workplace.judge.decides,
        }

    @router.post("/api/embed", summary="Image to embedding", openapi_extra={"requestBody": {"content": IMAGE}})
    async def embed(request: Request) -> dict[str, Any]:
        upload, rows = await run_in_threadpool(workplace.asking.embed, await _image(request))
        return {"model": workplace.fingerprint, "id": upload.digest, "embedding": rows[0].tolist()}

    @router.post(
        "/api/search",
        summary="Image or embedding to the entries that look most like it",
        openapi_extra={"requestBody": {"content": IMAGE | VECTOR}},
    )
    async def search(
        request: Request,
        top: Top = 10,
        camera: Camera = None,
        after: After = None,
        before: Before = None,
        type: Type = None,
        source: SourceWords = None,
    ) -> dict[str, Any]:
        filters = {"camera": camera, "after": after, "before": before, "type": type, "source": source}
        where = where_of({name: text for name, text in filters.items() if text})
        make = await _query(workplace, request)
        answer = await run_in_threadpool(lambda: workplace.search(make(), top, where))
        return as_json([answer], workplace.judge)

    @router.get("/pictures/{id}", summary="Small JPEG of an entry", response_class=Response)
    def picture(id: str, size: str = "small") -> Response:
        data = workplace.pictures.jpeg(id, size)
        if data is None:
            raise HTTPException(404, "there is no such picture here, or its file has changed or can no longer be read")
        return Response(data, media_type="image/jpeg", headers={"cache-control": "private, max-age=600"})

    @router.get("/api/answers.csv", summary="Answers of the review", response_class=Response)
    def answers(
        drawn_only: Annotated[bool, Query(description="Only pairs that the audit drew, for a calibration.")] = False,
    ) -> Response:
        name = "answers-drawn.csv" if drawn_only else "answers.csv"
        return _file(workplace.answers_csv(drawn_only=drawn_only).encode(), name)

    @router.get("/api/groups.{kind}", summary="Groups as a table, csv or parquet", response_class=Response)
    def groups(kind: str) -> Response:
        if kind not in MEDIA:
            raise HTTPException(404, f"groups are given as {' or '.join(MEDIA)}, not as '{kind[:20]}'")
        with tempfile.TemporaryDirectory(prefix="resight-") as folder:
            return _file(workplace.save_groups(Path(folder) / f"groups.{kind}").read_bytes(), f"groups.{kind}")

    return router


def _file(content: bytes, name: str) -> Response:
    """Give a file to keep."""
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=MEDIA[name.rpartition(".")[2]], headers=headers)


async def _image(request: Request) -> bytes:
    """Take the image out of a form, or the body as it is.

    Raises:
        HTTPException: there is none.
    """
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        async with request.form(max_files=1, max_fields=8) as form:
            upload = form.get("image")
            if not isinstance(upload, UploadFile):
                raise HTTPException(400, "the form must have a file named 'image'")
            return await upload.read()
    data = await request.body()
    if not data:
        raise HTTPException(400, "the body must be an image, or a form with a file named 'image', and is empty")
    return data


async def _query(workplace: Workplace, request: Request) -> Callable[[], Queries]:
    """Take an image or a vector out of a request; gives what makes a query of it."""
    workplace.opened_gallery  # noqa: B018 - refused before anything is computed
    if not request.headers.get("content-type", "").startswith("application/json"):
        image = await _image(request)
        return lambda: workplace.asking.image(image)[0]
    try:
        vector = [float(number) for number in json.loads(await request.body())["vector"]]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise HTTPException(400, 'the body must be JSON like {"vector": [0.1, 0.2]}') from error
    return lambda: workplace.asking.vector(vector)


async def _said(request: Request, error: Exception) -> JSONResponse:
    del request
    status = 400 if isinstance(error, ConfigError | ShapeError) else 503 if isinstance(error, GalleryError) else 422
    return JSONResponse({"error": str(error)}, error.status if isinstance(error, RefusedUpload) else status)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    del request
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": str(error.detail)}, error.status_code, headers=error.headers)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    del request
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    came = first.get("input")
    shown = "nan" if isinstance(came, float) and math.isnan(came) else str(came)[:80]
    return JSONResponse({"error": f"{where}: {first['msg']}, got '{shown}'"}, 422)


def _docs(app: FastAPI) -> Callable[[Request], Awaitable[Response]]:
    async def docs(request: Request) -> Response:
        del request
        return HTMLResponse(docs_page(app.openapi()))

    return docs


def docs_page(schema: dict[str, Any]) -> str:
    """Write the calls as a plain page that loads nothing."""
    parts = []
    for path, calls in schema["paths"].items():
        for method, call in calls.items():
            parts.append(f"<h2><code>{method.upper()} {html.escape(path)}</code></h2>")
            parts.append(f"<p>{html.escape(call.get('summary', ''))}</p>")
            body = call.get("requestBody", {}).get("content", {})
            if body:
                parts.append(f"<p>Body: {html.escape(', '.join(body))}</p>")
            rows = [
                f"<tr><th scope=row><code>{html.escape(p['name'])}</code></th><td>{html.escape(p['in'])}</td>"
                f"<td>{html.escape(p.get('description', ''))}</td></tr>"
                for p in call.get("parameters", ())
            ]
            if rows:
                parts.append(f"<table>{''.join(rows)}</table>")
    info = schema["info"]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        "<title>resight: HTTP API</title><style>body{font:1rem/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem "
        "auto;padding:0 1rem;color-scheme:light dark}th{text-align:left}td,th{padding:.1rem .8rem .1rem 0}</style>"
        f"<h1>HTTP API</h1><p>{html.escape(info['description'])}</p>"
        f'<p><a href="{OPENAPI}">openapi.json</a> · <a href="/">back to the app</a></p>{"".join(parts)}</html>'
    )
