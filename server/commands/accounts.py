"""Composition root of `ani accounts`: the first administrator, who cannot be made by another one."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from adapters.passwords import Argon2Passwords
from adapters.postgres import Database
from adapters.postgres.accounts.revocations import revoke
from adapters.postgres.accounts.store import PostgresAccounts
from domain.accounts.completion import AccountNameTaken
from domain.accounts.model import Account, PasswordTooCommon, check_length
from domain.accounts.naming import check_email, email_key, tidy_name
from domain.audit import ORIGIN, Origin, note
from domain.kernel import Refusal, Role, new_id
from server.settings import Settings
from server.stack import embedded


def create_admin(settings: Settings, email: str, *, name: str, password_env: str) -> int:
    """Make an administrator of an address; return the exit status."""
    try:
        print(asyncio.run(_create_admin(embedded.resolved(settings), email, name, password_env)), flush=True)
    except Refusal as fault:
        sys.stderr.write(f"ani: {fault}\n")
        return 1
    return 0


async def _create_admin(settings: Settings, email: str, name: str, password_env: str) -> str:
    at = datetime.now(UTC)
    check_email(email)
    database = await Database.connect(settings.database_url, size=1, application="ani-accounts")
    try:
        async with database.begins(PostgresAccounts)() as store:
            known = await store.account_by_email(email_key(email))
            if known is not None:
                promoted = replace(known, role=Role.ADMIN, version=known.version + 1, update_time=at)
                await store.save_account(promoted)
                await revoke(store.connection, known.account_id, at=at)
                await _note(store, promoted, before={"role": known.role.name}, at=at)
                return f"the account {known.name} ({known.email}) is an administrator now, with the password that it has"
        account = await _account(email, tidy_name(name or email.partition("@")[0]), password_env, at=at)
        async with database.begins(PostgresAccounts)() as store:
            if not await store.add_account(account):
                raise AccountNameTaken(field="name")
            await _note(store, account, before={}, at=at)
    finally:
        await database.close()
    return f"there is an administrator {account.name} ({account.email}) now: sign in, and set up a second factor"


async def _note(store: PostgresAccounts, account: Account, *, before: dict[str, str], at: datetime) -> None:
    """Have the audit log say who was made an administrator, and by which user of this machine."""
    who = "somebody"
    with suppress(OSError, KeyError):
        who = getpass.getuser()
    ORIGIN.set(Origin(address=f"{who}, by ani accounts create-admin"))
    await note(store, "AdministratorMade", account.account_id, before=before, after={"role": account.role.name}, at=at)


async def _account(email: str, name: str, password_env: str, *, at: datetime) -> Account:
    password = os.environ.get(password_env, "") if password_env else _asked()
    check_length(password)
    passwords = Argon2Passwords()
    try:
        if passwords.is_common(password, context=(email, name)):
            raise PasswordTooCommon(field="password")
        hashed = await passwords.hash(password)
    finally:
        passwords.close()
    return Account(
        account_id=new_id(at=at),
        email=email,
        name=name,
        role=Role.ADMIN,
        password_hash=hashed,
        password_time=at,
        # Whoever may run this vouches for it.
        email_verify_time=at,
        create_time=at,
        update_time=at,
    )


def _asked() -> str:
    """Ask for a password twice where there is somebody to ask, or read it from what is piped in."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("Password: ")
    return password if getpass.getpass("Once more: ") == password else ""
