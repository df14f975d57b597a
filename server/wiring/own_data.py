"""Composition of own data: what each context keeps of accounts, exports of it, and accounts that go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from adapters.envelopes import SealedEnvelopes
from adapters.postgres import Database, platform_kept
from adapters.postgres.accounts import kept as accounts_kept
from adapters.postgres.accounts.own_data import PostgresOwnData
from adapters.postgres.accounts.teams import PostgresTeams
from adapters.postgres.editing import kept as editing_kept
from adapters.postgres.listen import Bell
from adapters.postgres.media import kept as media_kept
from adapters.postgres.operations import kept as operations_kept
from adapters.postgres.operations.store import PostgresOperations
from adapters.postgres.own_data import Kept, OwnData
from adapters.secret_keys import Seal
from adapters.storage import LocalStorage, S3Storage, part_of, storage_at
from ani.accounts.v1 import own_data_service_pb2
from domain.accounts.export import KIND, ExportMaking, Exports
from domain.accounts.export_links import ExportLinks
from domain.accounts.letters import Letters
from domain.accounts.own_data import Deletions, Erasure
from domain.accounts.team_service import Teams
from domain.operations.ports import Job as OperationJob
from domain.operations.service import Operations
from server.accounts import own_data_tasks
from server.accounts.own_data_servicer import OwnDataServicer
from server.events.deliveries import Reaction
from server.events.scheduler import Job
from server.operations.mapping import operation_to_pb
from server.settings import Settings
from server.wiring.accounts import Desk

# One service stands in this file.
CONTRACTS = (own_data_service_pb2,)
# What each context keeps of accounts: a table that is in none of these is not told to anybody, and not erased.
KEPT: Mapping[str, tuple[Kept, ...]] = {
    "accounts": accounts_kept.KEPT,
    "media": media_kept.KEPT,
    "editing": editing_kept.KEPT,
    "operations": operations_kept.KEPT,
    "platform": platform_kept.KEPT,
}


def servicers(settings: Settings, desk: Desk) -> dict[str, object]:
    """Return the servicer by the name of its service."""
    begin, read = desk.database.begins(PostgresOwnData), desk.database.reads(PostgresOwnData)
    operations = Operations(
        begin=desk.database.begins(PostgresOperations), read=desk.database.reads(PostgresOperations), bell=Bell()
    )
    links = ExportLinks(Seal(settings.key_folder, "export links"))
    exports = Exports(begin=begin, read=read, shelf=shelf(settings), links=links)
    deletions = Deletions(begin=begin, sessions=desk.sessions, letters=desk.letters)
    return {"OwnDataService": OwnDataServicer(exports, deletions, operations, operation_to_pb)}


@dataclass(frozen=True, slots=True)
class Duties:
    """What the worker does about own data."""

    reactions: list[Reaction]
    jobs: list[Job]
    operations: dict[str, OperationJob]


def duties(settings: Settings, database: Database, clock: Callable[[], datetime]) -> Duties:
    """Return what the worker does about exports, and about accounts that go."""
    begin, read = database.begins(PostgresOwnData), database.reads(PostgresOwnData)
    own = {context: OwnData(database, kept) for context, kept in KEPT.items()}
    letters, parts = Letters(SealedEnvelopes(settings.key_folder)), shelf(settings)
    making = ExportMaking(list(own.values()), begin=begin, read=read, shelf=parts, letters=letters)
    teams = Teams(begin=database.begins(PostgresTeams), read=database.reads(PostgresTeams))
    erasure = Erasure(begin=begin, read=read, together=database.ambient, teams=teams, shelf=parts)
    forgets = {context: one.forget for context, one in own.items() if context not in {"accounts", "platform"}}
    forgets["platform"] = platform_kept.PassingEvents(database).forget
    return Duties(
        own_data_tasks.reactions(forgets),
        own_data_tasks.jobs(erasure, making, clock),
        {KIND: own_data_tasks.ExportJob(making, clock)},
    )


def shelf(settings: Settings) -> LocalStorage | S3Storage:
    """Return where the parts of exports are stored: apart from other files, which are looked through by themselves."""
    return storage_at(part_of(settings.storage_url, "exports"), folder=settings.data / "exports")
