"""Composition of signing in on devices without a keyboard, and of guest passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from adapters.postgres import Database
from adapters.postgres.accounts.device_logins import CHANNEL, PostgresDeviceLogins
from adapters.postgres.accounts.guest_passes import PostgresGuestPasses
from adapters.postgres.listen import Listener
from adapters.secret_keys import Mark
from ani.accounts.v1 import device_login_service_pb2, guest_pass_service_pb2
from domain.accounts.decisions import Decisions
from domain.accounts.device_login import DeviceLogins
from domain.accounts.guest_passes import Departures, GuestPasses
from server.accounts import device_tasks
from server.accounts.device_login_servicer import DeviceLoginServicer
from server.accounts.guest_pass_servicer import GuestPassServicer
from server.events.scheduler import Job
from server.settings import Settings
from server.wiring.accounts import Desk

# One service stands in each of these files.
CONTRACTS = (device_login_service_pb2, guest_pass_service_pb2)


@dataclass(frozen=True, slots=True)
class Devices:
    """The servicers by the names of their services, and what wakes the devices that wait."""

    servicers: dict[str, object]
    decisions: Decisions


def devices(settings: Settings, desk: Desk, listener: Listener) -> Devices:
    """Put together what lets devices and guests in; ask before the listener runs."""
    database, mark = desk.database, Mark(settings.key_folder, "typed codes").of
    decisions = Decisions(read=database.reads(PostgresDeviceLogins), bell=listener.bell(CHANNEL))
    logins = DeviceLogins(
        begin=database.begins(PostgresDeviceLogins),
        read=database.reads(PostgresDeviceLogins),
        sessions=desk.sessions,
        throttle=desk.throttle,
        letters=desk.letters,
        decisions=decisions,
        mark=mark,
        site=settings.site_url,
    )
    passes = GuestPasses(
        begin=database.begins(PostgresGuestPasses),
        read=database.reads(PostgresGuestPasses),
        sessions=desk.sessions,
        throttle=desk.throttle,
        mark=mark,
        site=settings.site_url,
    )
    return Devices({"DeviceLoginService": DeviceLoginServicer(logins), "GuestPassService": GuestPassServicer(passes)}, decisions)


def jobs(database: Database, clock: Callable[[], datetime]) -> list[Job]:
    """Return what the worker does by the clock."""
    departures = Departures(begin=database.begins(PostgresGuestPasses))
    return device_tasks.jobs(departures, database.begins(PostgresDeviceLogins), clock)
