"""Passwords: exact, slow for who guesses, out of the way of everybody else, and none that is guessed first."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from argon2 import PasswordHasher, extract_parameters
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from adapters.passwords import COMMON, Argon2Passwords
from domain.accounts.ports import PasswordsBusy, Verdict

# Cheap, where what is shown does not depend on the cost.
CHEAP: dict[str, Any] = {"memory_kib": 64, "rounds": 1, "lanes": 1}
exact = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def passwords() -> Iterator[Argon2Passwords]:
    made = Argon2Passwords()
    yield made
    made.close()


@pytest.fixture
async def cheap() -> AsyncIterator[Argon2Passwords]:
    made = Argon2Passwords(**CHEAP)
    yield made
    made.close()


class TestHash:
    async def test_is_made_with_the_first_parameters_that_owasp_recommends(self, passwords: Argon2Passwords) -> None:
        """A1."""
        hashed = await passwords.hash("correct horse battery staple")

        assert hashed.startswith("$argon2id$v=19$m=47104,t=1,p=1$")

    async def test_is_another_each_time(self, cheap: Argon2Passwords) -> None:
        assert await cheap.hash("the same password") != await cheap.hash("the same password")


class TestVerify:
    async def test_says_when_a_hash_is_weaker_than_one_made_today(self, cheap: Argon2Passwords) -> None:
        """A1."""
        old = PasswordHasher(time_cost=1, memory_cost=32, parallelism=1).hash("a password of old")
        fresh = await cheap.hash("a password of old")

        assert (True, True) == _taken(await cheap.verify("a password of old", old))
        assert (True, False) == _taken(await cheap.verify("a password of old", fresh))
        assert (False, False) == _taken(await cheap.verify("another password", old))

    @exact
    @given(password=st.text(min_size=1, max_size=120), data=st.data())
    async def test_takes_passwords_exactly_as_they_are(self, cheap: Argon2Passwords, password: str, data: st.DataObject) -> None:
        """A2."""
        place = data.draw(st.integers(0, len(password) - 1))
        other = data.draw(st.sampled_from([
            password[:place] + password[place + 1 :],
            password + " ",
            password + "\0",
            password[:place] + "é" + password[place:],
            password.swapcase(),
            password.encode()[:72].decode(errors="ignore"),
        ]))  # fmt: skip
        assume(other != password)
        hashed = await cheap.hash(password)

        assert (await cheap.verify(password, hashed)).right
        assert not (await cheap.verify(other, hashed)).right

    @pytest.mark.parametrize(
        ("password", "other"),
        [
            ("é" * 8, "e\N{COMBINING ACUTE ACCENT}" * 8),
            ("nul\0and more", "nul\0"),
            ("trailing space ", "trailing space"),
            ("x" * 73 + "a", "x" * 73 + "b"),
            ("\N{FULLWIDTH LATIN SMALL LETTER A}" * 8, "a" * 8),
            ("пароль-пароль", "Пароль-пароль"),
        ],
    )
    async def test_neither_cuts_nor_folds(self, cheap: Argon2Passwords, password: str, other: str) -> None:
        """A2."""
        hashed = await cheap.hash(password)

        assert (await cheap.verify(password, hashed)).right
        assert not (await cheap.verify(other, hashed)).right

    async def test_takes_as_long_where_there_is_no_hash(self, passwords: Argon2Passwords) -> None:
        """A4, as far as passwords go."""
        hashed = await passwords.hash("the right password")
        known, unknown = [], []
        for _ in range(15):
            known.append(await _work(passwords, "a wrong password", hashed))
            unknown.append(await _work(passwords, "a wrong password", None))

        assert 0.7 < statistics.median(known) / statistics.median(unknown) < 1.4
        assert not (await passwords.verify("", None)).right

    async def test_compares_nobodys_hash_at_todays_cost(self, passwords: Argon2Passwords) -> None:
        assert extract_parameters(passwords._nobodys) == extract_parameters(await passwords.hash("whatever it is"))

    async def test_is_never_right_for_what_is_no_hash(self, cheap: Argon2Passwords) -> None:
        assert not (await cheap.verify("password", "$2b$12$" + "a" * 53)).right
        assert not (await cheap.verify("password", "")).right


class TestManyAtOnce:
    async def test_wait_in_a_line_of_bounded_length(self) -> None:
        passwords = Argon2Passwords(most_waiting=3)
        asked = await asyncio.gather(*(passwords.verify("a password", None) for _ in range(10)), return_exceptions=True)
        refused = [answer for answer in asked if isinstance(answer, PasswordsBusy)]
        again = await passwords.verify("a password", None)
        passwords.close()

        assert 6 == len(refused)
        assert refused[0].retry_after >= 1
        assert not again.right

    async def test_are_answered_where_nothing_yields_the_core(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("adapters.passwords.PATIENCE_SECONDS", 0.005)
        passwords = Argon2Passwords()
        hashed = await passwords.hash("the right password")
        right, wrong = await asyncio.gather(
            passwords.verify("the right password", hashed), passwords.verify("a wrong password", hashed)
        )
        passwords.close()

        assert right.right
        assert not wrong.right

    async def test_leave_no_work_behind_when_whoever_asks_leaves(
        self, passwords: Argon2Passwords, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun, compare = [], passwords._compare

        def counted(password: bytes, hashed: str | None) -> Verdict:
            begun.append(password)
            return compare(password, hashed)

        monkeypatch.setattr(passwords, "_compare", counted)
        monkeypatch.setattr("adapters.passwords.PATIENCE_SECONDS", 60.0)
        for _ in range(100):
            asking = asyncio.create_task(passwords.verify("a password", None))
            for _ in range(3):
                await asyncio.sleep(0)  # until it is its turn
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

        assert not (await passwords.verify("the password", None)).right
        assert len(begun) < 50

    async def test_make_room_when_whoever_asks_leaves(self, cheap: Argon2Passwords) -> None:
        asking = [asyncio.create_task(cheap.verify("a password", None)) for _ in range(60)]
        await asyncio.sleep(0)  # all have asked now
        for asked in asking[:-1]:
            asked.cancel()

        await asyncio.gather(*asking, return_exceptions=True)

        assert not (await asking[-1]).right
        assert not any(answer.right for answer in await asyncio.gather(*(cheap.verify("again", None) for _ in range(60))))

    async def test_stand_aside_while_they_wait(self) -> None:
        """Or passwords would take the places of calls that have nothing to do with them."""
        aside = []

        @contextmanager
        def standing() -> Iterator[None]:
            aside.append("in")
            yield
            aside.append("out")

        passwords = Argon2Passwords(most_waiting=3, aside=standing)
        asked = await asyncio.gather(*(passwords.hash("a password") for _ in range(5)), return_exceptions=True)
        passwords.close()

        assert aside == [*["in"] * 4, *["out"] * 4]
        assert isinstance(asked[-1], PasswordsBusy)

    async def test_leave_the_event_loop_free(self, passwords: Argon2Passwords) -> None:
        asking = [asyncio.ensure_future(passwords.verify("a password", None)) for _ in range(8)]
        delays = []
        while not all(one.done() for one in asking):
            begin = time.perf_counter()
            await asyncio.sleep(0)
            delays.append(time.perf_counter() - begin)
        await asyncio.gather(*asking)

        assert len(delays) > 100
        assert statistics.quantiles(delays, n=100)[97] < 0.01

    async def test_give_up_their_place_when_nobody_waits_any_more(self) -> None:
        passwords = Argon2Passwords(most_waiting=3)
        asking = [asyncio.ensure_future(passwords.verify("a password", None)) for _ in range(4)]
        await asyncio.sleep(0)
        for one in asking:
            one.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        hashed = await asyncio.gather(*(passwords.hash("a password") for _ in range(4)))
        passwords.close()

        assert 4 == len(hashed)


class TestCommonPasswords:
    def test_are_refused_however_their_letters_are_written(self, cheap: Argon2Passwords) -> None:
        """A3."""
        common = [line for line in COMMON.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]

        assert len(common) > 3000
        assert all(len(password) >= 8 for password in common)
        assert all(cheap.is_common(password) and cheap.is_common(password.title()) for password in common)

    @pytest.mark.parametrize(
        "password",
        [
            "mitsuki-1991", "Mitsuki!!!", "m1t5uk1!", "anime2026", "ANI-ANI-ANI", "tanaka.mitsuki", "tanakamitsuki1",
            "example99", "aaaaaaaa", "abababababab", "12341234123", "qwertyuiopqwe", "0987654321", "zyxwvuts", "йцукенгшщ",
        ],
    )  # fmt: skip
    def test_are_refused_when_made_of_what_everybody_knows(self, cheap: Argon2Passwords, password: str) -> None:
        """A3."""
        assert cheap.is_common(password, context=("tanaka.mitsuki@example.org", "Mitsuki"))

    @pytest.mark.parametrize(
        "password",
        [
            "abcdefghqrstuvwxyzmn",
            "correct horse battery",
            "titanium manikin",
            "xq7-lantern",
            "夏目漱石の猫である",
            "passphrase of anime",
        ],
    )
    def test_are_no_others_whatever_they_are_made_of(self, cheap: Argon2Passwords, password: str) -> None:
        """A3."""
        assert not cheap.is_common(password, context=("tanaka.mitsuki@example.org", "Mitsuki"))

    @given(password=st.text(max_size=300), context=st.lists(st.text(max_size=60), max_size=3))
    @settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    async def test_are_told_for_any_text(self, cheap: Argon2Passwords, password: str, context: list[str]) -> None:
        assert cheap.is_common(password, context=context) in {True, False}


def _taken(verdict: object) -> tuple[bool, bool]:
    return verdict.right, verdict.outdated  # type: ignore[attr-defined]


async def _work(passwords: Argon2Passwords, password: str, hashed: str | None) -> float:
    """Return how long the processor works at it; how long that takes on a busy machine is another matter."""
    begin = time.process_time()
    await passwords.verify(password, hashed)
    return time.process_time() - begin
