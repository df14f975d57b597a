"""Composition root of `ani audit`: proving that the audit log is whole, and reading it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from adapters.postgres import Database
from adapters.postgres.audit import PostgresAudit, Standing
from adapters.secret_keys import Mark
from domain.audit import PURPOSE, Break, Filter, Head, Kept, broken
from domain.kernel import Refusal
from server.settings import Settings
from server.stack import embedded

# The worker chains entries once a second: one that waits longer has no worker.
USUAL_WAIT = timedelta(minutes=1)
BAR = 30


@dataclass(frozen=True, slots=True)
class Verdict:
    """How far the chain holds, and where it does not."""

    head: Head
    fault: Break | None
    standing: Standing


def verify(settings: Settings, *, expected: Head | None) -> int:
    """Prove the chain unbroken; return the exit status: 1 when it is broken or ends before a head that was seen before."""

    async def work(database: Database) -> int:
        verdict = await _verify(PostgresAudit(database), Mark(settings.key_folder, PURPOSE).of, expected, tell=_progress())
        return _tell(verdict)

    return _run(settings, work)


async def _verify(
    log: PostgresAudit, mark: Callable[[bytes], bytes], expected: Head | None, *, tell: Callable[[int, int], None]
) -> Verdict:
    standing, head = await log.standing(), Head()
    seen = expected is None
    async for some in log.chained():
        for kept in some:
            if (fault := broken(head, kept, mark=mark)) is not None:
                return Verdict(head, fault, standing)
            head = Head(kept.number or 0, kept.hash)
            seen = seen or head == expected
        tell(head.number, standing.chained)
    if not seen and expected is not None:
        why = f"the chain does not hold {expected}: entries are missing at its end, or others stand in their place"
        return Verdict(head, Break(expected.number, None, why), standing)
    return Verdict(head, None, standing)


def _tell(verdict: Verdict) -> int:
    standing, fault = verdict.standing, verdict.fault
    if fault is not None:
        named = f" (entry_id {fault.entry_id})" if fault.entry_id is not None else ""
        print(f"the audit log is broken at entry {fault.number} of the chain{named}: {fault.why}")
        if fault.number == 1:
            print("if it is so from the first entry on, the key folder may not be the one of the worker that chained it")
        return 1
    print(f"the audit log is unbroken: {verdict.head.number} entries, head {verdict.head}")
    if standing.unchained_since is not None:
        late = datetime.now(UTC) - standing.unchained_since > USUAL_WAIT
        hint = "; is there a worker?" if late else ""
        print(f"{standing.unchained} entries are not chained yet{hint}")
    return 0


def show(settings: Settings, wanted: Filter, *, count: int) -> int:
    """Print the newest entries that are wanted; return the exit status."""

    async def work(database: Database) -> int:
        found = await PostgresAudit(database).entries(wanted, after=None, limit=count)
        print("\n".join(map(_line, found)) if found else "there is no such entry")
        return 0

    return _run(settings, work)


def _line(kept: Kept) -> str:
    entry = kept.entry
    who = " ".join(filter(None, (entry.role.lower(), entry.account_id, entry.key_id and f"key {entry.key_id}", entry.address)))
    what = " ".join(filter(None, (entry.method, entry.code, entry.reason)))
    said = json.dumps({"request": dict(entry.request), **entry.changes}, ensure_ascii=False)
    return f"{entry.time:%Y-%m-%d %H:%M:%S}  {kept.number or '-'}  {who}  {what}  {entry.request_id}\n    {said}"


def _progress() -> Callable[[int, int], None]:
    """Return what draws how far it is, where somebody looks."""
    if not sys.stderr.isatty():
        return lambda _done, _whole: None

    def draw(done: int, whole: int) -> None:
        full = BAR * done // max(whole, done, 1)
        end = "\n" if done >= whole else ""
        sys.stderr.write(f"\r[{'#' * full}{'.' * (BAR - full)}] {done} of {whole} entries{end}")
        sys.stderr.flush()

    return draw


def _run(settings: Settings, work: Callable[[Database], Coroutine[Any, Any, int]]) -> int:
    async def connected() -> int:
        database = await Database.connect(
            embedded.resolved(settings).database_url, size=1, application="ani-audit", patience=60, wait=5
        )
        try:
            return await work(database)
        finally:
            await database.close()

    try:
        return asyncio.run(connected())
    except Refusal as fault:
        hint = "" if settings.database_url else f" Set DATABASE_URL, or run `ani up` on {settings.data.resolve()} meanwhile."
        sys.stderr.write(f"ani: {fault}{hint}\n")
        return 1
