"""Composition root of the commands that end by themselves: migrate, token, events."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from domain.kernel import Refusal, Role, new_id
from server.settings import Settings
from server.stack import embedded

SHOWN = 100


def _run(settings: Settings, work: Coroutine[Any, Any, int]) -> int:
    """Run a command against the database; say in one line why it cannot be reached."""
    from adapters.postgres.migrate import MigrationBlocked

    try:
        return asyncio.run(work)
    except (Refusal, MigrationBlocked) as fault:
        hint = "" if settings.database_url else f" Set DATABASE_URL, or run `ani up` on {settings.data.resolve()} meanwhile."
        cause = f" ({fault.__cause__})" if str(fault.__cause__ or "") else ""
        sys.stderr.write(f"ani: {fault}{cause}{hint}\n")
        return 1


def migrate(settings: Settings, action: str, *, demo: bool) -> int:
    """Change the schema, or tell where it is; return the exit status: 1 also when it is not the newest."""
    work = {"up": _up, "down": _down, "status": _status}[action]
    return _run(settings, work(embedded.resolved(settings), demo))


async def _up(settings: Settings, demo: bool) -> int:
    from adapters.postgres import migrate

    url, newest = settings.database_url, migrate.head()
    if await migrate.current(url) == newest:
        print(f"the schema is at {newest}, the newest", flush=True)
    else:
        await migrate.upgrade(url, tell=_tell)
    await migrate.forget_another_clusters_changes(url, tell=_tell)
    if demo:
        await _plant_demo(settings)
    return 0


async def _plant_demo(settings: Settings) -> None:
    from server.imports import plant_demo

    if planted := await plant_demo(settings):
        print(f"put {planted} releases of the demo catalog into the empty database", flush=True)


async def _down(settings: Settings, _demo: bool) -> int:
    from adapters.postgres import migrate

    await migrate.downgrade(settings.database_url, "-1", tell=_tell)
    return 0


async def _status(settings: Settings, _demo: bool) -> int:
    from adapters.postgres import migrate

    present, newest = await migrate.current(settings.database_url), migrate.head()
    if present == newest:
        print(f"the schema is at {newest}, the newest")
        return 0
    print(f"the schema is at {present or 'nothing'}, the newest is {newest}: run `ani migrate up`")
    return 1


def token(settings: Settings, *, role: str, account: str | None, hours: float) -> int:
    """Print an access token; return the exit status."""
    from adapters.token_keys import USUAL_TOKEN, note_expiry
    from server.wiring.tokens import AccessTokens

    now, lifetime = datetime.now(UTC), timedelta(hours=hours)
    try:
        tokens = AccessTokens.of(settings)
        if lifetime > USUAL_TOKEN:
            note_expiry(settings.key_folder, tokens.keys.signing()[0], now + lifetime)
        print(tokens.issuer.issue(account or new_id(at=now), Role[role.upper()], at=now, lifetime=lifetime))
    except (LookupError, OSError) as fault:
        sys.stderr.write(f"ani: no token without a private key, and no long one where that cannot be noted: {fault}\n")
        return 1
    return 0


def events(settings: Settings, action: str, numbers: Sequence[str]) -> int:
    """Show or replay events that could not be delivered; return the exit status."""
    if wrong := [number for number in numbers if not number.isdigit() and not (action == "replay" and number == "all")]:
        sys.stderr.write(f"ani: {wrong[0]!r} is no number of an event; `ani events list` shows them\n")
        return 2
    return _run(settings, _events(embedded.resolved(settings), action, numbers))


async def _events(settings: Settings, action: str, numbers: Sequence[str]) -> int:
    from adapters.postgres import Database
    from adapters.postgres.dead_letters import DeadLetter, PostgresDeadLetters

    def row(letter: DeadLetter) -> str:
        return f"{letter.number:>8}  {letter.dead_time:%Y-%m-%d %H:%M}  {letter.event} for {letter.consumer}: {letter.fault[:80]}"

    database = await Database.connect(settings.database_url, size=1, application="ani-events")
    try:
        async with database.begins(PostgresDeadLetters)() as letters:
            if action == "list":
                found = [row(letter) for letter in await letters.newest(limit=SHOWN)]
                print("\n".join(found) if found else "every event was delivered, or is still being tried")
            elif action == "show":
                shown = await letters.find([int(number) for number in numbers])
                whole = [f"{row(letter)}\n{json.dumps(letter.payload, indent=2)}" for letter in shown]
                print("\n\n".join(whole) or "none has such a number")
            else:
                chosen = None if "all" in numbers else [int(number) for number in numbers]
                replayed = await letters.replay(chosen)
                print(f"to be delivered again: {', '.join(map(str, replayed)) or 'none'}")
    finally:
        await database.close()
    return 0


def _tell(words: str) -> None:
    print(words, flush=True)
