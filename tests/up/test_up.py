"""`ani up`: starts, says so, revives, refuses in one line, ends cleanly, and starts again on the same data."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.request import urlopen

import pytest

from adapters.local.runtime import runtime_path
from tests.processes import ROOT, Ani, environment, free_port, until

# The gateway and the worker have tests of their own, and tests/e2e walks through everything at once.
PARTS = ("up", "--without", "gateway,worker")


def fresh_settings() -> dict[str, str]:
    return {"ANI_PORT": str(free_port()), "ANI_METRICS_PORT": str(free_port()), "ANI_SERVERS": "1"}


@pytest.fixture
def settings() -> dict[str, str]:
    return fresh_settings()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "a clone's folder"
    folder.mkdir()
    return folder


@pytest.fixture(scope="class")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ani]:
    """A stack that the tests of a class share."""
    with Ani(*PARTS, settings=fresh_settings(), folder=tmp_path_factory.mktemp("a clone's folder")) as up:
        up.await_line("ready after")
        yield up


@pytest.fixture(scope="class")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ani]:
    with Ani("up", settings={**fresh_settings(), "ANI_SERVERS": "2"}, folder=tmp_path_factory.mktemp("every thing")) as up:
        up.await_line("Three things to try")
        yield up


def run(*words: str, settings: Mapping[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "server", *words]
    return subprocess.run(command, cwd=folder, env=environment(**settings), check=False, capture_output=True, text=True)


def pid_of(up: Ani, words: str) -> int:
    return next(pid for pid, command in up.children().items() if words in command)


class TestStart:
    def test_keeps_the_data_where_one_stands_and_each_part_s_log(self, up: Ani) -> None:
        logs = {path.name for path in (up.folder / ".ani" / "logs").iterdir()}

        assert f"with data in {up.folder}/.ani" in up.lines[0]
        assert {"ani.log", "migrate.log", "postgres.log", "server-0.log", "valkey.log"} <= logs

    def test_serves_the_metrics_of_all_processes_on_one_page(self, up: Ani) -> None:
        with urlopen(f"http://127.0.0.1:{up.settings['ANI_METRICS_PORT']}/metrics", timeout=10) as page:
            text = page.read().decode()

        assert 'ani_part_up{part="postgres"} 1.0' in text
        assert 'ani_part_restarts_total{part="server-0"} 0.0' in text

    def test_shows_the_letters_beside_them(self, up: Ani) -> None:
        place = up.await_line("  Mail  ").split()[1]

        with urlopen(place, timeout=10) as page:
            text = page.read().decode()

        assert place == f"http://127.0.0.1:{up.settings['ANI_METRICS_PORT']}/mail"
        assert "No letters yet." in text

    def test_leaves_other_commands_to_find_the_stack(self, up: Ani) -> None:
        status = run("migrate", "status", settings=up.settings, folder=up.folder)
        doctor = run("doctor", settings=up.settings, folder=up.folder)
        events = run("events", settings=up.settings, folder=up.folder)

        assert status.stdout.endswith("the newest\n")
        assert doctor.returncode == 0, doctor.stdout
        assert f"in use by `ani up` (process {up.process.pid})" in doctor.stdout
        assert events.stdout == "every event was delivered, or is still being tried\n"

    def test_is_not_taken_for_dead_at_a_port_that_it_was_not_given(self, up: Ani) -> None:
        doctor = run("doctor", settings={**up.settings, "ANI_PORT": str(free_port())}, folder=up.folder)

        assert doctor.returncode == 0, doctor.stdout
        assert "if the stack has another port, say so with ANI_PORT" in doctor.stdout

    def test_keeps_its_doors_inside_the_machine(self, up: Ani) -> None:
        runtime = runtime_path(up.folder / ".ani")
        listening = subprocess.run(["cat", f"/proc/{up.process.pid}/net/tcp"], check=True, capture_output=True, text=True).stdout

        assert runtime.stat().st_mode & 0o077 == 0
        # 0.0.0.0 in the state LISTEN; the machine may have others, but not at the port of a server.
        assert f"00000000:{50051:04X} 00000000:0000 0A" not in listening


class TestRestart:
    @pytest.mark.parametrize(
        ("part", "words"), [("server-0", "--index 0"), ("postgres", "bin/postgres"), ("valkey", "valkey-server")]
    )
    def test_revives_a_killed_part_and_says_so(self, part: str, words: str, up: Ani) -> None:
        os.kill(pid_of(up, words), signal.SIGKILL)

        up.await_line(f"{part} ended (signal 9); starting it again")
        up.await_line(f"{part} started again after")


class TestEverything:
    def test_answers_what_it_tells_people_to_try(self, everything: Ani) -> None:
        words = everything.await_line("curl -s").split("'")[1]

        with urlopen(words, timeout=10) as page:
            found = json.load(page)

        assert len(found["releases"]) == 3

    @pytest.mark.parametrize(("part", "words"), [("gateway", "bin/envoy"), ("worker", "server worker"), ("server-1", "--index 1")])
    def test_revives_every_part(self, part: str, words: str, everything: Ani) -> None:
        os.kill(pid_of(everything, words), signal.SIGKILL)

        everything.await_line(f"{part} ended (signal 9); starting it again")
        everything.await_line(f"{part} started again after")

        with urlopen(f"http://127.0.0.1:{everything.settings['ANI_PORT']}/ready", timeout=10) as page:
            assert page.status == 200

    def test_ends_all_of_it_at_the_last(self, everything: Ani) -> None:
        children = everything.children()

        assert len(children) == 6
        assert everything.end() == 0
        assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


class TestSecondStart:
    def test_finds_the_same_data(self, folder: Path, settings: dict[str, str]) -> None:
        with Ani(*PARTS, settings=settings, folder=folder) as first:
            first.await_line("ready after")
            identity = (folder / ".ani" / "postgres" / "global" / "pg_control").read_bytes()[:8]
            status = first.end()

        with Ani(*PARTS, settings=settings, folder=folder) as second:
            second.await_line("ready after")
            same = (folder / ".ani" / "postgres" / "global" / "pg_control").read_bytes()[:8]
            log = (folder / ".ani" / "logs" / "migrate.log").read_text()

        assert status == 0
        assert identity == same
        assert log.splitlines()[-1].endswith("the newest")

    def test_works_after_a_kill_that_left_no_time_to_tidy_up(self, folder: Path, settings: dict[str, str]) -> None:
        with Ani(*PARTS, settings=settings, folder=folder) as first:
            first.await_line("ready after")
            left = first.children()
            first.process.kill()
            first.process.wait()

            with Ani(*PARTS, settings=settings, folder=folder) as second:
                second.await_line("ready after")
                until(lambda: not [pid for pid in left if Path(f"/proc/{pid}").exists()])
                now = second.children()

        assert left
        assert set(left).isdisjoint(now)


class TestEnd:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_leaves_nothing_running(self, number: signal.Signals, folder: Path, settings: dict[str, str]) -> None:
        with Ani(*PARTS, settings=settings, folder=folder) as up:
            up.await_line("ready after")
            children = up.children()

            status = up.end(number)

        assert status == 0
        assert up.lines[-1].endswith("stopped")
        assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
        assert not (folder / ".ani" / "postgres" / "postmaster.pid").exists()
        assert not runtime_path(folder / ".ani").exists()


class TestRefusal:
    def test_is_one_line_for_a_second_stack_on_the_same_data(self, up: Ani) -> None:
        second = run(*PARTS, settings=up.settings, folder=up.folder)

        assert second.returncode == 1
        assert second.stderr == (
            f"ani: {up.folder}/.ani is in use by another `ani up` (process {up.process.pid}):"
            " stop it, or name another folder in ANI_DATA\n"
        )
        assert up.process.poll() is None

    def test_is_one_line_for_a_busy_port(self, tmp_path: Path, settings: dict[str, str]) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", free_port()))
            other.listen()
            done = run(*PARTS, settings={**settings, "ANI_METRICS_PORT": str(other.getsockname()[1])}, folder=tmp_path)

        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert "cannot be listened on" in done.stderr
        assert "set ANI_METRICS_PORT to another port" in done.stderr

    def test_is_one_line_for_a_folder_with_something_else_in_it(self, tmp_path: Path, settings: dict[str, str]) -> None:
        (tmp_path / "thesis.txt").touch()

        done = run(*PARTS, settings={**settings, "ANI_DATA": str(tmp_path)}, folder=tmp_path)

        assert done.returncode == 1
        assert done.stderr == f"ani: {tmp_path} is not empty and not Ani's: empty it, or name another folder in ANI_DATA\n"
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]

    def test_names_each_setting_that_cannot_be(self, tmp_path: Path) -> None:
        done = run("up", settings={"ANI_PROT": "1", "ANI_PORT": "http"}, folder=tmp_path)

        assert done.returncode == 2
        assert done.stderr == "ani: ANI_PORT must be a whole number from 1 to 65535\nani: ANI_PROT is not a setting of Ani\n"

    def test_names_the_parts_there_are(self, tmp_path: Path, settings: dict[str, str]) -> None:
        done = run("up", "--without", "gatway", settings=settings, folder=tmp_path)

        assert done.returncode == 2
        assert "does not know gatway; the parts are postgres, valkey, servers, worker, gateway, metrics" in done.stderr

    def test_tells_where_no_stack_runs(self, tmp_path: Path, settings: dict[str, str]) -> None:
        done = run("migrate", "status", settings=settings, folder=tmp_path)

        assert done.returncode == 1
        assert done.stderr.endswith(f"Set DATABASE_URL, or run `ani up` on {tmp_path}/.ani meanwhile.\n")

    def test_leaves_a_folder_free_after_a_refusal(self, tmp_path: Path, settings: dict[str, str]) -> None:
        (tmp_path / ".ani" / "postgres").mkdir(parents=True)
        (tmp_path / ".ani" / "ani.lock").touch()
        (tmp_path / ".ani" / "postgres" / "PG_VERSION").write_text("15\n")

        done = run(*PARTS, settings=settings, folder=tmp_path)

        assert done.returncode == 1
        assert "was made by PostgreSQL 15 and this is 18" in done.stderr
        assert done.stderr.count("\n") == 1


class TestHelp:
    @pytest.mark.parametrize(
        "words", [[], ["up"], ["serve"], ["worker"], ["gateway"], ["migrate"], ["token"], ["doctor"], ["events"]]
    )
    def test_fits_a_terminal(self, words: list[str], folder: Path) -> None:
        done = run(*words, "--help", settings={}, folder=folder)

        assert done.returncode == 0
        assert max(len(line) for line in done.stdout.splitlines()) <= 120
        assert done.stdout.startswith("usage: ani")

    def test_comes_before_anything_heavy_is_loaded(self) -> None:
        script = "import sys; from server.__main__ import parser; parser(); print(sorted({'grpc', 'asyncpg'} & set(sys.modules)))"
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, env=environment(), check=True, capture_output=True, text=True
        )

        assert done.stdout == "[]\n"

    def test_keeps_the_supervisor_small(self) -> None:
        heavy = ["asyncpg", "google", "grpc", "redis", "sqlalchemy"]
        script = f"import sys, server.stack.up; print(sorted(set({heavy}) & set(sys.modules)))"
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, env=environment(), check=True, capture_output=True, text=True
        )

        assert done.stdout == "[]\n"


class TestToken:
    def test_is_all_that_is_printed(self, tmp_path: Path) -> None:
        done = run("token", "--role", "editor", "--account", "me", settings={}, folder=tmp_path)

        assert done.returncode == 0
        assert done.stdout.count(".") == 2
        assert done.stdout.count("\n") == 1
        assert (tmp_path / ".ani" / "keys" / "1.pem").stat().st_mode & 0o077 == 0
