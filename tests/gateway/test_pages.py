"""The pages that the gateway shows, as a person's browser has them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.gateway.running import Running

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Nothing but this machine may be asked for anything: the page must work offline.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--virtual-time-budget=10000",
)


class TestPages:
    @pytest.mark.parametrize(
        ("path", "kind"),
        [
            ("/openapi.json", "application/json"),
            ("/docs", "text/html; charset=utf-8"),
            ("/docs/docs.js", "text/javascript; charset=utf-8"),
            ("/docs/docs.css", "text/css; charset=utf-8"),
            ("/docs/swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
            ("/docs/swagger-ui.css", "text/css; charset=utf-8"),
        ],
    )
    async def test_are_there_for_reading_alone(self, http: httpx.AsyncClient, path: str, kind: str) -> None:
        answer = await http.get(path)
        head = await http.head(path)
        posted = await http.post(path)

        assert answer.status_code == head.status_code == 200
        assert answer.headers["content-type"] == kind
        assert answer.headers["cache-control"] != "no-store"
        assert len(answer.content) > 500
        assert posted.status_code in {404, 405}

    async def test_are_found_from_the_root(self, http: httpx.AsyncClient) -> None:
        answer = await http.get("/")

        assert answer.status_code == 307
        assert answer.headers["location"] == "/docs"

    async def test_let_nothing_in_from_elsewhere(self, http: httpx.AsyncClient) -> None:
        policy = (await http.get("/docs")).headers["content-security-policy"]

        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe-eval" not in policy
        assert "http" not in policy


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here: `apt-get install chromium`, or Chrome under its usual name")
class TestExplorer:
    def browse(self, url: str, folder: Path, *, width: int) -> str:
        words = [str(BROWSER), *QUIET, f"--user-data-dir={folder}", f"--window-size={width},1200", "--dump-dom", url]
        shown = subprocess.run(words, capture_output=True, text=True, check=True, timeout=50)
        assert "Content Security Policy" not in shown.stderr
        return shown.stdout

    @pytest.mark.parametrize("width", [1280, 500])
    def test_shows_every_service_and_call(self, running: Running, tmp_path: Path, width: int) -> None:
        page = self.browse(f"{running.url}/docs", tmp_path, width=width)

        assert "CatalogService" in page
        assert page.count('class="opblock opblock-') >= 13
        assert "Lists the releases that the caller may see" in page
        assert "Unable to render" not in page
        assert "errors-wrapper" not in page

    def test_shows_a_calls_parameters_with_their_limits(self, running: Running, tmp_path: Path) -> None:
        page = self.browse(f"{running.url}/docs#/CatalogService/CatalogService_ListReleases", tmp_path, width=1280)

        assert "page_token" in page
        assert "Only releases that carry all of these genres" in page
        assert "Execute" in page
