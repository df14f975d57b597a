"""What stands around the API: reflection, pages, metrics, and the commands beside a running stack."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from google.rpc import error_details_pb2

from tests.e2e.conftest import Body
from tests.processes import environment
from tests.stack import Stack
from tests.waiting import until

BUF = Path(sys.executable).with_name("buf")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SERIES = {
    "ani_rpc_seconds_count",
    "ani_work_in_flight",
    "ani_work_limit",
    "ani_work_waiting",
    "ani_cache_reads_total",
    "ani_cache_megabytes",
    "ani_quota_refusals_total",
    "ani_shed_total",
    "ani_loop_lag_seconds",
    "ani_outbox_pending",
    "ani_outbox_oldest_seconds",
    "ani_dead_letters",
    "ani_deliveries_total",
    "ani_part_up",
    "ani_part_restarts_total",
}


class TestReflection:
    def buf_curl(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = [str(BUF), "curl", "--protocol", "grpc", "--http2-prior-knowledge", *words]
        return subprocess.run(argv, env=environment(), check=False, capture_output=True, text=True, timeout=30)

    def test_lets_a_stranger_call_what_was_never_described(self, stack: Stack) -> None:
        done = self.buf_curl(f"http://localhost:{stack.settings['ANI_PORT']}/ani.catalog.v1.CatalogService/ListGenres")

        assert done.returncode == 0, done.stderr
        assert {genre["genreId"] for genre in json.loads(done.stdout)["genres"]} >= {"action", "drama"}

    def test_shows_refusals_with_their_details(self, stack: Stack) -> None:
        url = f"http://localhost:{stack.settings['ANI_PORT']}/ani.catalog.v1.CatalogService/GetRelease"

        done = self.buf_curl("--data", '{"release": "none"}', url)

        assert done.returncode != 0
        refused = json.loads(done.stderr)
        assert refused["code"] == "not_found"
        told = error_details_pb2.ErrorInfo.FromString(base64.b64decode(refused["details"][0]["value"] + "=="))
        assert (told.reason, told.metadata["release"]) == ("RELEASE_NOT_FOUND", "none")

    def test_lists_what_there_is(self, stack: Stack) -> None:
        done = self.buf_curl("--list-methods", f"http://localhost:{stack.settings['ANI_PORT']}")

        assert {"ani.catalog.v1.CatalogService/WatchReleases", "ani.system.v1.SystemService/CheckReadiness"} <= set(
            done.stdout.split()
        )


class TestPages:
    async def test_describe_the_api_to_machines(self, http: httpx.AsyncClient) -> None:
        answer = await http.get("/openapi.json")

        contract = answer.json()
        assert answer.headers["content-type"] == "application/json"
        assert contract["openapi"].startswith("3.1")
        assert {"get", "post"} <= contract["paths"]["/v1/releases"].keys()
        assert {"/health", "/live", "/ready", "/v1/releases:watch"} <= contract["paths"].keys()

    async def test_need_nothing_from_elsewhere(self, http: httpx.AsyncClient) -> None:
        page = await http.get("/docs")

        needed = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        for path in needed:
            assert path.startswith(("/", "data:"))
            assert path.startswith("data:") or (await http.get(path)).status_code == 200

    @pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: /docs is not tried in a real browser")
    def test_show_every_method_in_a_real_browser(self, stack: Stack, tmp_path: Path) -> None:
        assert CHROMIUM is not None
        argv = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={tmp_path}"]
        argv += ["--enable-logging=stderr", "--virtual-time-budget=8000", "--dump-dom", f"http://{stack.address}/docs"]

        shown = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=50, env=environment(HOME=str(tmp_path)))

        operations = set(re.findall(r'data-path="([^"]+)"', shown.stdout.replace("\u200b", "").replace("<wbr>", "")))
        assert {"/v1/releases", "/v1/releases/{release}", "/v1/genres", "/health"} <= operations
        assert [line for line in shown.stderr.splitlines() if ":CONSOLE" in line] == []


async def told(stack: Stack) -> dict[str, dict[str, float]]:
    """Return the metrics once all of them are there."""
    metrics = await asyncio.to_thread(stack.metrics)
    return metrics if metrics.keys() >= SERIES else {}


class TestMetrics:
    async def test_tell_of_all_processes(self, stack: Stack, editor: httpx.AsyncClient, a_body: Callable[..., Body]) -> None:
        await editor.post("/v1/releases", json=a_body())

        metrics = await until(lambda: told(stack))

        assert metrics["ani_part_up"] == dict.fromkeys(("postgres", "valkey", "server-0", "server-1", "worker", "gateway"), 1.0)


class TestCommands:
    def test_find_nothing_wrong(self, stack: Stack) -> None:
        done = stack.command("doctor")

        assert done.returncode == 0, done.stdout
        assert "in use by `ani up`" in done.stdout

    def test_tell_that_the_schema_is_the_newest(self, stack: Stack) -> None:
        assert stack.command("migrate", "status").stdout.endswith("the newest\n")

    def test_tell_that_no_event_was_given_up(self, stack: Stack) -> None:
        assert stack.command("events", "list").stdout == "every event was delivered, or is still being tried\n"

    def test_tell_the_version(self, stack: Stack) -> None:
        assert re.fullmatch(r"ani \d+\.\d+\.\d+\n", stack.command("version").stdout)

    async def test_give_a_token_that_opens_what_its_role_may(self, stack: Stack, a_body: Callable[..., Body]) -> None:
        done = stack.command("token", "--role", "editor", "--account", "somebody", "--hours", "1")
        async with stack.http(headers={"authorization": f"Bearer {done.stdout.strip()}"}) as client:
            written = await client.post("/v1/releases?validate_only=true", json=a_body())
            caller = (await client.get("/v1/caller")).json()

        assert written.status_code == 200
        assert (caller["accountId"], caller["role"]) == ("somebody", "ROLE_EDITOR")
