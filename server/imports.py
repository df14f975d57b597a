"""Composition root of imports: what a worker does of them, and `ani import`, which does one in a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adapters.importers.files import ImportFile
from adapters.importers.kodik import Kodik, KodikSource
from adapters.importers.sources import FILES
from adapters.postgres import Database
from adapters.postgres.catalog.demo import plant
from adapters.postgres.catalog.episode_imports import PostgresEpisodeImports
from adapters.postgres.catalog.episodes import UNDETERMINED
from adapters.postgres.catalog.importing import PostgresImports
from adapters.postgres.catalog.redirects import PostgresRedirects, Replaced
from adapters.postgres.listen import Bell, Listener
from adapters.postgres.media.importing import PostgresSourceImports
from adapters.postgres.operations.store import CHANNEL, PostgresOperations
from domain.catalog.episode_imports import EpisodeImports, Video, VideosKept
from domain.catalog.imports import Imports
from domain.catalog.redirects import EpisodeRulesReplaced, Line, Redirect, read_rules
from domain.kernel import Page, Refusal, Role, Viewer, new_id
from domain.media.importing import Player, SourceImports
from domain.media.sources import Origins
from domain.operations.model import Operation, State
from domain.operations.ports import Job
from domain.operations.runner import STALE, Runner
from domain.operations.service import Operations
from server.catalog.demo import demo
from server.catalog.import_jobs import KIND, RELATIONS, ImportJob, RelationsJob, Source
from server.settings import Settings
from server.stack import embedded
from server.stack.meter import Meter

# A batch may take longer than a call.
PATIENCE_SECONDS = 30.0
SHOWN_PROBLEMS = 10
LOOK_SECONDS = 0.5
STATUS = {State.SUCCEEDED: 0, State.CANCELLED: 130}
# The command is run by whoever runs the platform.
US = Viewer(role=Role.ADMIN)


class MediaVideos:
    """What Catalog's imports ask of Media: that what they find is kept as video sources."""

    def __init__(self, players: SourceImports) -> None:
        self._players = players

    def allows(self, url: str) -> bool:
        return self._players.allows(url)

    async def keep(self, source: str, videos: Sequence[Video], gone: Sequence[str], *, at: datetime) -> VideosKept:
        players = [
            Player(
                name=video.name,
                episode_id=video.episode_id,
                url=video.link.url,
                language=video.link.language or UNDETERMINED,
                team=video.link.team,
                voiced=video.link.voiced,
                blocked_countries=video.link.blocked_countries,
            )
            for video in videos
        ]
        kept = await self._players.keep(source, players, gone, at=at)
        return VideosKept(kept.added, kept.changed, kept.withdrawn)


def jobs(database: Database, *, kodik_url: str, kodik_token: str, origins: Origins) -> dict[str, Job]:
    """Return what does imports, by the kind of operation."""

    async def replace(redirects: list[Redirect]) -> Replaced:
        async with database.begins(PostgresRedirects)() as store:
            replaced = await store.replace(redirects)
            if replaced.added or replaced.removed:
                await store.record(EpisodeRulesReplaced(time=_now(), added=replaced.added, removed=replaced.removed))
            return replaced

    async def last() -> str:
        async with database.reads(PostgresOperations)() as store:
            found = await store.latest_success(KIND, about={"source": "kodik"})
        return str(found.result.get("newest", "")) if found else ""

    sources: dict[str, Source] = dict(FILES)
    if kodik_token:
        sources["kodik"] = KodikSource(Kodik(kodik_url, kodik_token), last)
    imports = Imports(begin=database.begins(PostgresImports))
    players = SourceImports(begin=database.begins(PostgresSourceImports), origins=origins)
    episodes = EpisodeImports(begin=database.begins(PostgresEpisodeImports), videos=MediaVideos(players))
    return {KIND: ImportJob(imports, episodes, sources, _now), RELATIONS: RelationsJob(_rules, replace)}


def _rules(path: str) -> Iterator[Line]:
    with closing(ImportFile(Path(path))) as file:
        yield from read_rules(line.decode("utf-8", "replace") for line in file.lines())


def servicers(settings: Settings, database: Database, listener: Listener) -> dict[str, object]:
    """Return the servicers of long work and imports by the names of their services."""
    from server.catalog.import_servicer import ImportServicer
    from server.operations.mapping import operation_to_pb
    from server.operations.servicer import OperationServicer

    begin, read = database.begins(PostgresOperations), database.reads(PostgresOperations)
    operations = Operations(begin=begin, read=read, bell=listener.bell(CHANNEL))
    folder = settings.import_folder if settings.import_folder.parts else settings.data / "import"
    return {
        "OperationService": OperationServicer(operations),
        "ImportService": ImportServicer(operations, folder, kodik=bool(settings.kodik_token), render=operation_to_pb),
    }


def runner(database: Database, done: dict[str, Job], bell: Bell) -> Runner:
    """Return what does operations in this process."""
    name = f"{socket.gethostname()}/{os.getpid()}/{new_id(at=_now())[-8:]}"
    begin = database.begins(PostgresOperations)
    return Runner(done, begin=begin, together=database.ambient, bell=bell, clock=_now, name=name)


@dataclass(frozen=True, slots=True)
class Command:
    """What `ani import` is to do."""

    source: str
    file: Path | None = None
    token_env: str = ""
    since: str = ""
    publish: bool = True

    @property
    def kind(self) -> str:
        return RELATIONS if self.source == "relations" else KIND

    @property
    def title(self) -> str:
        return f"{self.source} {self.file.name}" if self.file else self.source

    @property
    def parameters(self) -> dict[str, Any]:
        """Return what is to be done; a file that has changed since is other work."""
        asked: dict[str, Any] = {"source": self.source, "publish": self.publish}
        if self.file is not None:
            known = self.file.stat()
            asked |= {"file": str(self.file.resolve()), "stamp": f"{known.st_size}/{known.st_mtime_ns}"}
        return asked | ({"since": self.since} if self.since else {})


def run(settings: Settings, command: Command) -> int:
    """Import, showing how far it is; return the exit status."""
    token = os.environ.get(command.token_env, "") if command.token_env else settings.kodik_token
    if command.source == "kodik" and not token:
        sys.stderr.write(f"ani: {command.token_env or 'ANI_KODIK_TOKEN'} holds no token for Kodik\n")
        return 2
    if command.file is not None and not command.file.is_file():
        sys.stderr.write(f"ani: there is no file {command.file}\n")
        return 2
    try:
        return asyncio.run(_run(embedded.resolved(settings), command, token))
    except Refusal as fault:
        hint = "" if settings.database_url else f" Is `ani up` running on {settings.data.resolve()}?"
        sys.stderr.write(f"ani: {fault}{hint}\n")
        return 1


async def _run(settings: Settings, command: Command, token: str) -> int:
    async with _connected(settings) as database:
        begin = database.begins(PostgresOperations)
        operations = Operations(begin=begin, read=database.reads(PostgresOperations), bell=Bell())
        origins = Origins(settings.video_hosts, settings.video_local_hosts)
        done = jobs(database, kodik_url=settings.kodik_url, kodik_token=token, origins=origins)
        working = runner(database, done, Bell())
        taken = await _taken(operations, working, command)
        loop = asyncio.get_running_loop()
        asked: list[asyncio.Task[Any]] = []

        def cancel() -> None:
            asked.append(loop.create_task(operations.cancel_operation(taken.operation_id, viewer=US, at=_now())))

        loop.add_signal_handler(signal.SIGINT, cancel)
        meter = Meter(sys.stdout)
        ended = await working.run(taken, observe=meter.show)
        meter.end(ended)
        await asyncio.gather(*asked, return_exceptions=True)
        await _tell_problems(operations, ended)
    return STATUS.get(ended.state, 1)


async def _taken(operations: Operations, working: Runner, command: Command) -> Operation:
    """Go on with what a killed command left, once its heartbeat has stopped; else start anew."""
    parameters = command.parameters
    for state in (State.RUNNING, State.QUEUED):
        found, _ = await operations.list_operations(Page(100), kind=command.kind, state=state, viewer=US)
        for left in found:
            if not left.shared and dict(left.parameters) == parameters:
                return await _taken_over(working, left)
    at = _now()
    asked = Operation(
        operation_id=new_id(at=at),
        kind=command.kind,
        title=command.title,
        parameters=parameters,
        shared=False,
        create_time=at,
    )
    await operations.start(asked)
    return await _taken_over(working, asked)


async def _taken_over(working: Runner, left: Operation) -> Operation:
    told = False
    while (taken := await working.take(left.operation_id)) is None:
        if not told:
            print(f"another run of this import was at it less than {STALE.seconds} seconds ago; waiting for it", flush=True)
            told = True
        await asyncio.sleep(LOOK_SECONDS)
    if taken.checkpoint:
        print("going on where the last run of this import was ended", flush=True)
    return taken


async def _tell_problems(operations: Operations, ended: Operation) -> None:
    problems, _ = await operations.list_problems(ended.operation_id, Page(SHOWN_PROBLEMS), viewer=US)
    for problem in problems:
        print(f"  row {problem.row} ({problem.key}): {problem.text}")
    if (rest := ended.problem_count - len(problems)) > 0:
        print(f"  and {rest:,} more: GET /v1/operations/{ended.operation_id}/problems")


@asynccontextmanager
async def _connected(settings: Settings) -> AsyncIterator[Database]:
    url = settings.database_url
    database = await Database.connect(url, size=4, application="ani-import", patience=PATIENCE_SECONDS, wait=5.0)
    try:
        await database.check()
        yield database
    finally:
        await database.close()


def _now() -> datetime:
    return datetime.now(UTC)


async def plant_demo(settings: Settings) -> int:
    """Put the demo catalog into a database that has no release; return how many were put there."""
    database = await Database.connect(settings.database_url, size=1, application="ani-demo", patience=30)
    try:
        async with database.begins(lambda connection: connection)() as connection:
            return await plant(connection, demo(at=datetime.now(UTC)))
    finally:
        await database.close()
