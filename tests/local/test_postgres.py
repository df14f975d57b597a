"""The embedded PostgreSQL: made once, a direct child, never blocked by what a killed run left, strict about strangers' folders."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from adapters.local.postgres import LocalPostgres
from adapters.local.runtime import Identity, LocalRefused, residents

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

STARTER = """
import sys, time
from pathlib import Path
from adapters.local.postgres import LocalPostgres
postgres = LocalPostgres(Path(sys.argv[1]), Path(sys.argv[2]), durable=False)
postgres.prepare()
postgres.start()
postgres.wait_ready()
print("ready", flush=True)
time.sleep(60)
"""


def open_the_way_to(folder: Path) -> None:
    """Let other users pass through to a folder below the one for temporary files."""
    for above in folder.relative_to(tempfile.gettempdir()).parents:
        path = tempfile.gettempdir() / above
        if path.stat().st_uid == os.geteuid():
            path.chmod(path.stat().st_mode | 0o011)


def nobody_may_run(program: str) -> bool:
    try:
        return subprocess.run([program, "-c", ""], user=NOBODY, group=NOBODY, extra_groups=[], check=False).returncode == 0
    except PermissionError:
        return False


@contextmanager
def running(postgres: LocalPostgres) -> Iterator[subprocess.Popen[bytes]]:
    postgres.prepare()
    process = postgres.start(subprocess.DEVNULL)
    try:
        postgres.wait_ready()
        yield process
    finally:
        if process.poll() is None:
            postgres.stop(process)


async def answer(postgres: LocalPostgres, statement: str) -> object:
    connection = await asyncpg.connect(postgres.url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


class TestStart:
    async def test_answers_in_utf8_with_checksums_and_in_byte_order(self, postgres: LocalPostgres) -> None:
        with running(postgres):
            found = await answer(
                postgres,
                "select array[current_user, current_database(), current_setting('server_encoding'),"
                " current_setting('data_checksums'), current_setting('TimeZone'),"
                " (select string_agg(x, '' order by x) from unnest(array['b', 'A', 'a', 'é']) x), upper('é')]",
            )

        assert found == ["ani", "ani", "UTF8", "on", "UTC", "Aabé", "É"]

    async def test_has_the_extensions_that_search_needs(self, postgres: LocalPostgres) -> None:
        with running(postgres):
            found = await answer(
                postgres, "select count(*) from pg_available_extensions where name in ('pg_trgm', 'unaccent', 'vector')"
            )

        assert found == 3

    async def test_listens_on_its_private_socket_alone(self, postgres: LocalPostgres, runtime: Path) -> None:
        with running(postgres):
            found = await answer(postgres, "select current_setting('listen_addresses')")
            modes = [path.stat().st_mode & 0o077 for path in (runtime, runtime / "postgres")]

        assert found == ""
        assert modes == [0, 0]

    async def test_finds_the_same_data_again(self, postgres: LocalPostgres) -> None:
        with running(postgres):
            await answer(postgres, "create table kept (n int)")
            await answer(postgres, "insert into kept values (7)")

        with running(postgres):
            found = await answer(postgres, "select n from kept")

        assert found == 7

    async def test_keeps_every_commit_on_disk_unless_told_otherwise(self, data: Path, runtime: Path) -> None:
        with running(LocalPostgres(data / "durable", runtime)) as _:
            found = await answer(
                LocalPostgres(data / "durable", runtime),
                "select array[current_setting('fsync'), current_setting('synchronous_commit'),"
                " current_setting('full_page_writes')]",
            )

        assert found == ["on", "on", "on"]

    def test_is_a_direct_child_that_ends_in_good_order(self, postgres: LocalPostgres) -> None:
        with running(postgres) as process:
            workers = residents(postgres.data, "postgres")

            code = postgres.stop(process)

        assert process.pid in workers
        assert code == 0
        assert residents(postgres.data, "postgres") == []

    def test_begins_anew_when_the_first_start_was_cut_short(self, postgres: LocalPostgres) -> None:
        half = postgres.data.with_name("postgres.new")
        half.mkdir()
        (half / "PG_VERSION").write_text("18\n")

        with running(postgres):
            assert postgres.ready()

        assert not half.exists()


class TestRestart:
    async def test_follows_a_kill_of_every_process_at_once(self, data: Path, runtime: Path) -> None:
        postgres = LocalPostgres(data / "postgres", runtime)
        with running(postgres) as process:
            await answer(postgres, "create table kept (n int)")
            await answer(postgres, "insert into kept values (7)")
            process.kill()
            process.wait()

            with running(postgres):
                found = await answer(postgres, "select n from kept")

        assert found == 7

    def test_is_not_blocked_by_a_process_number_that_went_to_another_program(self, postgres: LocalPostgres) -> None:
        with running(postgres) as process:
            text = (postgres.data / "postmaster.pid").read_text()
            process.kill()
            process.wait()
        (postgres.data / "postmaster.pid").write_text(text.replace(str(process.pid), str(os.getppid()), 1))

        with running(postgres):
            assert postgres.ready()

    def test_works_after_its_starter_was_killed(self, postgres: LocalPostgres, runtime: Path) -> None:
        command = [sys.executable, "-c", STARTER, str(postgres.data), str(runtime)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as starter:
            assert starter.stdout is not None
            starter.stdout.readline()
            left = residents(postgres.data, "postgres")
            starter.kill()
            starter.wait()

            with running(postgres) as process:
                now = residents(postgres.data, "postgres")

        assert left
        assert process.pid in now
        assert set(left).isdisjoint(now)


class TestRefusal:
    def test_names_a_folder_with_something_else_in_it(self, postgres: LocalPostgres) -> None:
        postgres.data.mkdir()
        (postgres.data / "holiday.jpg").touch()

        with pytest.raises(LocalRefused, match=r"is not empty and holds no PostgreSQL database: empty it, or name another"):
            postgres.prepare()

    def test_names_both_versions(self, postgres: LocalPostgres) -> None:
        postgres.data.mkdir()
        (postgres.data / "PG_VERSION").write_text("15\n")

        with pytest.raises(LocalRefused, match=r"was made by PostgreSQL 15 and this is 18: move it over"):
            postgres.prepare()

    def test_names_the_process_that_runs_already(self, postgres: LocalPostgres, runtime: Path) -> None:
        with running(postgres) as process:
            (runtime / "other").mkdir()
            second = LocalPostgres(postgres.data, runtime / "other", durable=False)

            with pytest.raises(LocalRefused, match=r"is in use by postgres \(process \d+\): stop it"):
                second.prepare()

            assert process.poll() is None
            assert postgres.ready()

    @as_root
    def test_names_the_owner(self, postgres: LocalPostgres) -> None:
        postgres.data.mkdir()
        os.chown(postgres.data, NOBODY, NOBODY)

        with pytest.raises(LocalRefused, match=r"belongs to user nobody: start as that user"):
            postgres.prepare()

    def test_gives_up_on_a_server_that_ends_at_its_start(self, postgres: LocalPostgres) -> None:
        postgres.prepare()
        with (postgres.data / "postgresql.conf").open("a") as file:
            file.write("max_connections = many\n")
        postgres.start(subprocess.DEVNULL)

        with pytest.raises(LocalRefused, match=r"postgres ended at its start \(exit 1\)"):
            postgres.wait_ready()


@as_root
class TestIdentity:
    @pytest.mark.parametrize("identity", [Identity.NAMESPACE, Identity.NOBODY])
    async def test_lets_root_have_a_database(self, identity: Identity, data: Path, runtime: Path) -> None:
        open_the_way_to(data / "postgres")
        postgres = LocalPostgres(data / "postgres", runtime, durable=False, identity=identity)

        with running(postgres):
            first = await answer(postgres, "select 1")
        with running(postgres):
            second = await answer(postgres, "select 2")

        assert (first, second) == (1, 2)

    def test_lets_an_ordinary_user_have_one(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        if not nobody_may_run(sys.executable):
            pytest.skip("this Python is private to root")
        home = tmp_path_factory.mktemp("nobody")
        open_the_way_to(home)
        os.chown(home, NOBODY, NOBODY)
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-n0",
            f"--basetemp={home}/t",
            f"{__file__}::TestStart",
        ]
        environment = {"PATH": os.environ["PATH"], "TMPDIR": str(home), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}

        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
        )

        assert done.returncode == 0, done.stdout + done.stderr

    def test_ends_the_program_with_its_starter(self, postgres: LocalPostgres, runtime: Path) -> None:
        command = [sys.executable, "-c", STARTER, str(postgres.data), str(runtime)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as starter:
            assert starter.stdout is not None
            starter.stdout.readline()
            starter.send_signal(signal.SIGKILL)
            starter.wait()

        deadline = time.monotonic() + 20
        while residents(postgres.data, "postgres") and time.monotonic() < deadline:
            time.sleep(0.05)

        assert residents(postgres.data, "postgres") == []
