"""What the gateway shows by itself: the contract as OpenAPI at /openapi.json, and its explorer at /docs."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gateway.filters import TRANSCODER, switched
from gateway.openapi import document
from gateway.settings import Gateway
from gateway.xds import Config, header

OWN = Path(__file__).parent / "pages"
# The package that brings Swagger UI along: its files, not its code, are used.
ASSETS_PACKAGE = "mkdocs_swagger_ui_tag"
ASSETS = {"swagger-ui-bundle.js": "javascripts", "swagger-ui.css": "stylesheets"}
KINDS = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
READING = {"name": ":method", "string_match": {"safe_regex": {"regex": "GET|HEAD"}}}
HOUR = "public, max-age=3600"
# Swagger UI sets styles on elements; scripts come from here alone, and calls go nowhere else.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def routes(gateway: Gateway) -> list[Config]:
    """Return the routes of all pages; without the package of the explorer's assets there is none of it."""
    contract = json.dumps(document(gateway.image, version=_version()), separators=(",", ":"))
    found = [_page("/openapi.json", {"inline_string": contract}, "application/json", reuse="public, max-age=300")]
    assets = _assets()
    if assets is None:
        return found
    return [*found, *_explorer(assets), _redirect("/", "/docs"), _redirect("/docs/", "/docs")]


def _explorer(assets: Path) -> Iterator[Config]:
    yield _page("/docs", {"inline_string": (OWN / "docs.html").read_text()}, KINDS[".html"], reuse="no-cache", document=True)
    for name in ("docs.css", "docs.js"):
        yield _page(f"/docs/{name}", {"inline_string": (OWN / name).read_text()}, KINDS[Path(name).suffix], reuse="no-cache")
    for name, folder in ASSETS.items():
        yield _page(f"/docs/{name}", {"filename": str(assets / folder / name)}, KINDS[Path(name).suffix], reuse=HOUR)


def _page(path: str, body: Config, kind: str, *, reuse: str, document: bool = False) -> Config:
    headers = [header("content-type", kind), header("cache-control", reuse)]
    if document:
        headers += [
            header("content-security-policy", CONTENT_POLICY),
            header("referrer-policy", "no-referrer"),
            header("x-frame-options", "DENY"),
        ]
    return {
        "name": f"page {path}",
        "match": {"path": path, "headers": [READING]},
        "direct_response": {"status": 200, "body": body},
        "response_headers_to_add": headers,
        "typed_per_filter_config": switched(off=[TRANSCODER]),
    }


def _redirect(path: str, target: str) -> Config:
    return {
        "name": f"page {path}",
        "match": {"path": path, "headers": [READING]},
        "direct_response": {"status": 307},
        # Without a host: whoever stands in front of the gateway may be known by another name, or speak TLS.
        "response_headers_to_add": [header("location", target)],
        "typed_per_filter_config": switched(off=[TRANSCODER]),
    }


def _assets() -> Path | None:
    found = importlib.util.find_spec(ASSETS_PACKAGE)
    folders = (found and found.submodule_search_locations) or ()
    return next((Path(folder, "swagger-ui") for folder in folders if Path(folder, "swagger-ui").is_dir()), None)


def _version() -> str:
    try:
        return version("ani")
    except PackageNotFoundError:
        return "0"
