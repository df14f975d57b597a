"""What the same person, and those who would be them, do at once: who is thrown out gets nothing by what was on its way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from adapters.postgres import Database, bare
from adapters.postgres.accounts.administration import PostgresAdministration
from adapters.postgres.accounts.api_keys import PostgresApiKeys
from adapters.postgres.accounts.device_logins import PostgresDeviceLogins
from adapters.postgres.accounts.revocations import revocations_since
from adapters.postgres.accounts.store import PostgresAccounts
from domain.accounts.administration import Administration
from domain.accounts.api_keys import ApiKeys
from domain.accounts.completion import Completion
from domain.accounts.device_login import AccessDenied, DeviceLogins
from domain.accounts.factors import Introduced
from domain.accounts.model import Device, Tokens
from domain.accounts.second_factors import concluded_by_owner
from domain.accounts.sessions import ProofTooOld
from domain.accounts.setups import SetupOver
from domain.accounts.teams import MOST_INVITATIONS_OF_ONE, TeamFull
from domain.accounts.throttle import Throttle
from domain.kernel import Begin, Role, Viewer
from server.pipeline.revoked import Revoked
from server.settings import Settings
from server.wiring import accounts as wiring
from server.wiring import tokens
from tests.accounts.teaming import Studio
from tests.builders import NOON
from tests.waiting import until_blocked

DEVICE = Device(device_name="Somebody's")
SOON = NOON + timedelta(milliseconds=300)


@dataclass
class Household:
    """A person who is signed in, and somebody who is signed in as them."""

    database: Database
    desk: wiring.Desk
    begin: Begin[PostgresAccounts] = field(init=False)
    completion: Completion = field(init=False)

    def __post_init__(self) -> None:
        desk = self.desk
        self.begin = self.database.begins(PostgresAccounts)
        self.completion = Completion(sessions=desk.sessions, passwords=desk.passwords, letters=desk.letters, mark=desk.mark)

    async def person(self, name: str) -> Viewer:
        return await Studio(self.database).person(name)

    async def sign_in(self, person: Viewer) -> tuple[Viewer, Tokens]:
        async with self.begin() as store:
            account = await store.account(person.account_id)
            assert account is not None
            opened = await self.desk.sessions.open(store, account, device=DEVICE, at=NOON)
        return replace(person, session_id=opened.session_id), opened

    async def change_password(self, store: PostgresAccounts, person: Viewer) -> None:
        """Change it in a unit of work that is not over."""
        account = await store.account_to_change(person.account_id)
        assert account is not None
        await self.completion.change_password(store, account, "hash", but="", at=NOON)


@pytest.fixture
async def household(settings: Settings, database: Database) -> AsyncIterator[Household]:
    async with AsyncExitStack() as stack:
        desk = wiring.desk(settings, database, tokens.AccessTokens.of(settings).issuer, stack)
        yield Household(database, desk)


class TestChangedPassword:
    async def test_keeps_out_a_television_that_an_intruder_let_in(self, household: Household, database: Database) -> None:
        desk = household.desk
        intruder, _ = await household.sign_in(await household.person("Mio"))
        logins = DeviceLogins(
            begin=database.begins(PostgresDeviceLogins),
            read=database.reads(PostgresDeviceLogins),
            sessions=desk.sessions,
            throttle=desk.throttle,
            letters=desk.letters,
            decisions=None,  # type: ignore[arg-type]
            mark=desk.mark,
            site="",
        )
        shown = await logins.start(DEVICE, at=NOON)
        await logins.approve(shown.user_code, shown.number, viewer=intruder, place="192.0.2.9", at=NOON)

        async with household.begin() as store:
            await household.change_password(store, intruder)
            polling = asyncio.create_task(logins.poll(shown.device_code, at=NOON))
            await until_blocked(database, polling)

        with pytest.raises(AccessDenied):
            await polling

    async def test_leaves_an_intruder_no_key(self, household: Household, database: Database) -> None:
        intruder, _ = await household.sign_in(await household.person("Mio"))
        keys = ApiKeys(begin=database.begins(PostgresApiKeys), read=database.reads(PostgresApiKeys), seal=str)

        async with household.begin() as store:
            await household.change_password(store, intruder)
            expires = NOON + timedelta(days=9)
            making = asyncio.create_task(
                keys.create_api_key("key", frozenset(), expires, signed=False, viewer=replace(intruder, role=Role.ADMIN), at=NOON)
            )
            await until_blocked(database, making)

        with pytest.raises(ProofTooOld):
            await making

    async def test_leaves_an_intruder_no_second_factor(self, household: Household, database: Database) -> None:
        intruder, _ = await household.sign_in(await household.person("Mio"))

        async def conclude() -> None:
            async with household.begin() as store:
                await concluded_by_owner(store, intruder)

        async with household.begin() as store:
            await household.change_password(store, intruder)
            concluding = asyncio.create_task(conclude())
            await until_blocked(database, concluding)

        with pytest.raises(SetupOver):
            await concluding


class TestBan:
    async def test_makes_a_token_void_that_was_refreshed_while_it_waited(self, household: Household, database: Database) -> None:
        person, opened = await household.sign_in(await household.person("Mio"))
        admin = replace(await household.person("Admin"), role=Role.ADMIN)
        async with database.begins(bare)() as connection:
            await connection.execute(
                "UPDATE accounts.accounts SET role = $1 WHERE account_id = $2", Role.ADMIN.value, admin.account_id
            )
        administration = Administration(
            begin=database.begins(PostgresAdministration),
            read=database.reads(PostgresAdministration),
            sessions=household.desk.sessions,
            letters=household.desk.letters,
        )

        async with database.begins(bare)() as holder:
            await holder.execute("SELECT FROM accounts.accounts WHERE account_id = $1 FOR NO KEY UPDATE", person.account_id)
            banning = asyncio.create_task(administration.ban(person.account_id, "spam", None, viewer=admin, at=NOON))
            await until_blocked(database, banning)
            await household.desk.sessions.refresh(opened.refresh_token, device=DEVICE, at=SOON)
        await banning

        revoked = Revoked(clock=NOON.timestamp)
        async with database.reads(bare)() as connection:
            revoked.add(await revocations_since(connection, NOON - timedelta(days=1)))
        assert revoked.is_void(person, SOON.timestamp())


class TestThrottle:
    async def test_is_counted_and_forgotten_side_by_side(self, database: Database) -> None:
        throttle = Throttle(begin=database.begins(PostgresAccounts))
        keys = ["register:mio@example.org", "address:192.0.2.1"]

        for _ in range(20):
            tries = [work for _ in range(2) for work in (throttle.begin(keys, at=NOON), throttle.succeeded(keys))]
            outcomes = await asyncio.gather(*tries, return_exceptions=True)

            assert [] == [one for one in outcomes if isinstance(one, BaseException)]

    async def test_keeps_no_answer_back_that_was_right(self, database: Database) -> None:
        throttle = Throttle(begin=database.begins(PostgresAccounts))
        await throttle.begin(["account:mio@example.org"], at=NOON)

        async with database.begins(bare)() as holder:
            await holder.execute("LOCK TABLE accounts.throttles")
            await throttle.succeeded(["account:mio@example.org"])


class TestInvitations:
    async def test_are_no_more_than_one_can_have_whoever_sends_them(self, database: Database) -> None:
        studio = Studio(database)
        invited = await studio.person("Mio")
        invite: list[Any] = []
        for number in range(MOST_INVITATIONS_OF_ONE + 5):
            founder = await studio.person(f"Founder {number}")
            team = await studio.team(founder, f"Team {number}")
            role = await studio.role(founder, team, 5)
            wanted = {"account_id": invited.account_id, "role_id": role.role_id, "viewer": founder, "at": NOON}
            invite.append((team.team_id, wanted))
        for team_id, wanted in invite[: MOST_INVITATIONS_OF_ONE - 1]:
            await studio.members.add_member(team_id, **wanted)

        last = invite[MOST_INVITATIONS_OF_ONE - 1 :]
        outcomes = await asyncio.gather(
            *(studio.members.add_member(team_id, **wanted) for team_id, wanted in last), return_exceptions=True
        )

        assert len(last) - 1 == sum(isinstance(one, TeamFull) for one in outcomes)
        assert MOST_INVITATIONS_OF_ONE == len(await studio.members.list_own_invitations(viewer=invited, at=NOON))


class Introducer:
    """An issuer whose link to an account is of no concern here."""

    async def link(self, store: object, account_id: str, link: object, *, at: object) -> None:
        pass


class TestIntroduced:
    async def test_namesakes_get_a_name_each(self, household: Household) -> None:
        async def come(address: str) -> str:
            async with household.begin() as store:
                introduced = Introduced(email=address, name="Anna", link={})
                return await household.completion.introduce(store, Introducer(), introduced, at=NOON)  # type: ignore[arg-type]

        for number in range(10):
            accounts = await asyncio.gather(*(come(f"anna-{number}-{one}@example.org") for one in range(4)))

            assert 4 == len(set(accounts))
