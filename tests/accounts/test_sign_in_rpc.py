"""Registering and signing in over a real server: each answer leads on, and none tells who has an account."""

from __future__ import annotations

import asyncio

import asyncpg
import grpc
import pytest

from ani.accounts.v1 import accounts_service_pb2 as pb
from ani.accounts.v1 import own_account_service_pb2 as own_pb
from ani.accounts.v1 import sign_in_pb2
from domain.mail import SILENCE
from server.settings import Settings
from tests.accounts.people import PASSWORD, Kind, People, bearer, signed_out
from tests.serving import Served, refusal

ADDRESS = "mio@example.org"
CODE, PASSWORD_KIND, MAGIC = Kind.CHALLENGE_KIND_EMAIL_CODE, Kind.CHALLENGE_KIND_PASSWORD, Kind.CHALLENGE_KIND_MAGIC_LINK
NEW_PASSWORD = Kind.CHALLENGE_KIND_NEW_PASSWORD


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06}"


class TestRegister:
    async def test_ends_in_an_account_that_is_signed_in(self, people: People, served: Served) -> None:
        tokens = await people.register("Mio")

        account = (await served.own_account.GetAccount(own_pb.GetAccountRequest(), metadata=bearer(tokens))).account

        assert (ADDRESS, "Mio", "en", True) == (account.email, account.name, account.language, account.has_password)
        assert tokens.account_id == account.account_id
        assert account.HasField("email_verify_time")

    async def test_makes_nothing_before_the_code_is_back(self, people: People, served: Served, settings: Settings) -> None:
        request = pb.RegisterRequest(email=ADDRESS, password=PASSWORD, name="Mio")
        step = (await served.accounts.Register(request)).step
        code = await people.post.code(ADDRESS)

        refused = await refusal(people.answer(step, CODE, wrong(code)))
        connection = await asyncpg.connect(settings.database_url)
        accounts = await connection.fetchval("SELECT count(*) FROM accounts.accounts")
        await connection.close()

        assert (grpc.StatusCode.UNAUTHENTICATED, "ANSWER_WRONG") == (refused.code, refused.reason)
        assert 0 == accounts

    async def test_tells_only_the_owner_that_there_is_an_account(self, people: People, served: Served) -> None:
        """A4."""
        await people.register("Mio")
        fresh = (await served.accounts.Register(pb.RegisterRequest(email="rin@example.org", password=PASSWORD, name="Rin"))).step
        known = (await served.accounts.Register(pb.RegisterRequest(email=ADDRESS, password=PASSWORD, name="Ayu"))).step

        for step in (fresh, known):
            step.sign_in = ""
            step.challenge.ClearField("hint")
            step.challenge.ClearField("expire_time")
        assert fresh == known
        assert "already_registered" in [letter.kind for letter in await people.post.letters(ADDRESS)]

    async def test_of_a_known_address_never_succeeds(self, people: People, served: Served) -> None:
        await people.register("Mio")
        step = (await served.accounts.Register(pb.RegisterRequest(email="Mio@Example.org", password=PASSWORD, name="Ayu"))).step

        refused = await refusal(people.answer(step, CODE, "000000"))

        assert "ANSWER_WRONG" == refused.reason

    @pytest.mark.parametrize(
        ("over", "reason", "field"),
        [
            ({"password": "password123"}, "PASSWORD_TOO_COMMON", "password"),
            ({"password": "short"}, "REQUEST_INVALID", "password"),
            ({"email": "nobody"}, "REQUEST_INVALID", "email"),
            ({"name": "\u202e\u2060"}, "NAME_UNREADABLE", "name"),
            ({"name": "pаypal"}, "NAME_MIXES_SCRIPTS", "name"),  # noqa: RUF001 - with a Cyrillic letter
            ({"password": "x" * 10_000_000}, None, None),
        ],
    )
    async def test_says_what_is_wrong(self, served: Served, over: dict[str, str], reason: str | None, field: str | None) -> None:
        """A3, B8, and passwords of ten megabytes."""
        said = {"email": ADDRESS, "password": PASSWORD, "name": "Mio"} | over
        request = pb.RegisterRequest(email=said["email"], password=said["password"], name=said["name"])

        refused = await refusal(served.accounts.Register(request))

        if reason is None:
            assert grpc.StatusCode.RESOURCE_EXHAUSTED is refused.code
        else:
            assert (grpc.StatusCode.INVALID_ARGUMENT, reason) == (refused.code, refused.reason)
            assert field in refused.fields

    async def test_refuses_a_name_that_looks_like_another(self, people: People, served: Served) -> None:
        """B8."""
        await people.register("Mio Iso", email="iso@example.org")

        refused = await refusal(
            served.accounts.Register(pb.RegisterRequest(email="a@example.org", password=PASSWORD, name="mío lsò"))
        )

        assert (grpc.StatusCode.ALREADY_EXISTS, "ACCOUNT_NAME_TAKEN") == (refused.code, refused.reason)

    async def test_twice_at_once_makes_one_account(self, people: People, served: Served) -> None:
        """Two who both read the mailbox: one account, and a clear word to the other."""
        request = pb.RegisterRequest(email=ADDRESS, password=PASSWORD, name="Mio")
        first = (await served.accounts.Register(request)).step
        code = await people.post.code(ADDRESS)
        second = (await served.accounts.Register(request)).step
        codes = [code, await people.post.code(ADDRESS)]

        found = await asyncio.gather(
            *(people.answer(step, CODE, one) for step, one in zip((first, second), codes, strict=True)), return_exceptions=True
        )

        refused = [one for one in found if isinstance(one, grpc.aio.AioRpcError)]
        assert [grpc.StatusCode.ALREADY_EXISTS] == [one.code() for one in refused]


class TestSignIn:
    async def test_takes_the_password(self, people: People) -> None:
        tokens = await people.register("Mio")

        step = await people.sign_in(ADDRESS)

        assert tokens.account_id == step.tokens.account_id
        assert tokens.session_id != step.tokens.session_id

    async def test_takes_a_code_that_is_sent(self, people: People) -> None:
        await people.register("Mio")
        step = await people.choose(await people.begin(ADDRESS), CODE)

        done = await people.answer(step, CODE, await people.post.code(ADDRESS))

        assert "m•••@example.org" == step.challenge.hint
        assert done.tokens.access_token

    async def test_takes_a_link_that_is_sent(self, people: People) -> None:
        """Opened wherever: it holds what stands for the sign-in too."""
        await people.register("Mio")
        await people.choose(await people.begin(ADDRESS), MAGIC)
        token = (await people.post.last(ADDRESS)).facts["link_token"]
        sign_in, _, secret = token.rpartition(".")

        done = await people.answer(sign_in_pb2.SignInStep(sign_in=sign_in), MAGIC, secret)

        assert done.tokens.access_token

    async def test_goes_on_the_same_for_an_address_that_nobody_has(self, people: People) -> None:
        """A4: the same words, step by step."""
        await people.register("Mio")
        known, unknown = await people.begin(ADDRESS), await people.begin("moo@example.org")
        refusals = [await refusal(people.answer(step, PASSWORD_KIND, "not the password")) for step in (known, unknown)]
        chosen = [await people.choose(step, CODE) for step in (known, unknown)]
        codes = [await refusal(people.answer(step, CODE, "000000")) for step in chosen]

        assert known.challenge.alternatives == unknown.challenge.alternatives
        assert 1 == len({(refused.code, refused.reason, refused.message) for refused in refusals})
        assert ["m•••@example.org"] * 2 == [step.challenge.hint for step in chosen]
        assert 1 == len({(refused.code, refused.reason, refused.message) for refused in codes})
        assert [] == [one.kind for one in await people.post.letters("moo@example.org") if one.kind != "silence"]

    async def test_is_over_after_five_wrong_answers(self, people: People) -> None:
        """A7."""
        await people.register("Mio")
        step = await people.choose(await people.begin(ADDRESS), CODE)
        code = await people.post.code(ADDRESS)

        found = await asyncio.gather(*(refusal(people.answer(step, CODE, wrong(code))) for _ in range(40)))
        last = await refusal(people.answer(step, CODE, code))

        assert sum(one.reason == "ANSWER_WRONG" for one in found) <= 5
        assert last.reason in {"SIGN_IN_OVER", "TOO_MANY_TRIES"}

    async def test_takes_a_code_once_only(self, people: People) -> None:
        """A8."""
        await people.register("Mio")
        step = await people.choose(await people.begin(ADDRESS), CODE)
        code = await people.post.code(ADDRESS)

        found = await asyncio.gather(*(people.answer(step, CODE, code) for _ in range(4)), return_exceptions=True)

        assert 1 == sum(isinstance(one, sign_in_pb2.SignInStep) for one in found)

    async def test_takes_a_code_in_no_other_sign_in(self, people: People) -> None:
        """A8."""
        await people.register("Mio")
        await people.choose(await people.begin(ADDRESS), CODE)
        code = await people.post.code(ADDRESS)
        other = await people.choose(await people.begin(ADDRESS), CODE)

        refused = await refusal(people.answer(other, CODE, code))

        assert "ANSWER_WRONG" == refused.reason

    async def test_keeps_no_code_where_a_dump_would_show_it(self, people: People, settings: Settings) -> None:
        """A8."""
        await people.register("Mio")
        await people.choose(await people.begin(ADDRESS), CODE)
        code = await people.post.code(ADDRESS)
        connection = await asyncpg.connect(settings.database_url)
        rows = await connection.fetch(
            "SELECT s::text AS t FROM accounts.sign_ins s UNION ALL SELECT e.payload::text FROM platform.events e"
        )
        await connection.close()

        assert len(rows) > 2
        assert not [row for row in rows if f'"{code}"' in row["t"]]

    @pytest.mark.parametrize("sign_in", ["", "x", "A" * 64, "A" * 63 + "=", "é" * 20])
    async def test_that_never_began_is_over(self, people: People, sign_in: str) -> None:
        refused = await refusal(people.answer(sign_in_pb2.SignInStep(sign_in=sign_in), CODE, "123456"))

        assert refused.reason in {"SIGN_IN_OVER", "REQUEST_INVALID"}

    async def test_takes_no_answer_to_what_was_not_asked(self, people: People) -> None:
        await people.register("Mio")
        step = await people.begin(ADDRESS)

        found = [await refusal(people.answer(step, kind, "123456")) for kind in (CODE, Kind.CHALLENGE_KIND_TOTP, NEW_PASSWORD)]

        assert ["CHALLENGE_NOT_OFFERED"] * 3 == [refused.reason for refused in found]

    async def test_from_a_new_device_is_told_to_its_owner(self, people: People) -> None:
        await people.register("Mio", device_id="device-0001")
        await people.sign_in(ADDRESS, device_id="device-0001")
        before = len(await people.post.letters(ADDRESS))

        await people.sign_in(ADDRESS, device_id="device-0002", name="Old phone")
        letters = await people.post.letters(ADDRESS)

        assert ["new_sign_in"] == [letter.kind for letter in letters[before:]]
        assert "Old phone" == letters[-1].facts["device"]


class TestGuesses:
    async def test_make_the_next_ones_wait_and_keep_a_known_device_in(self, people: People) -> None:
        """A5, A6."""
        tokens = await people.register("Mio", device_id="device-0001")
        step = await people.begin(ADDRESS)
        reasons = [(await refusal(people.answer(step, PASSWORD_KIND, f"guess number {n}"))).reason for n in range(5)]
        again = await people.begin(ADDRESS)

        refused = await refusal(people.answer(again, PASSWORD_KIND, PASSWORD))
        known = await people.sign_in(ADDRESS, device_id="device-0001", device_token=tokens.device_token)

        assert "ANSWER_WRONG" == reasons[0]
        assert (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_TRIES") == (refused.code, refused.reason)
        assert refused.retry_after
        assert known.tokens.access_token

    async def test_are_forgotten_by_the_link_that_the_owner_is_sent(
        self, people: People, served: Served, settings: Settings
    ) -> None:
        await people.register("Mio")
        connection = await asyncpg.connect(settings.database_url)
        await connection.execute(
            "INSERT INTO accounts.throttles VALUES ('account:mio@example.org', 9, now(), now() - interval '1 second')"
        )
        step = await people.begin(ADDRESS)
        await refusal(people.answer(step, PASSWORD_KIND, "guess number ten"))
        waiting = await refusal(people.answer(step, PASSWORD_KIND, PASSWORD))
        await connection.close()

        letter = await people.post.last(ADDRESS)
        await served.accounts.UnlockAccount(pb.UnlockAccountRequest(unlock_token=letter.facts["unlock_token"]))
        done = await people.sign_in(ADDRESS)

        assert ("account_locked", "TOO_MANY_TRIES") == (letter.kind, waiting.reason)
        assert done.tokens.access_token

    @pytest.mark.parametrize("unlock_token", ["x", "AAAA", "A" * 100])
    async def test_are_not_forgotten_by_a_made_up_link(self, served: Served, unlock_token: str) -> None:
        refused = await refusal(served.accounts.UnlockAccount(pb.UnlockAccountRequest(unlock_token=unlock_token)))

        assert (grpc.StatusCode.INVALID_ARGUMENT, "UNLOCK_TOKEN_INVALID") == (refused.code, refused.reason)


class TestAddressThatLooksLikeAnothers:
    """B8: an account is found by it, and its owner alone is written to."""

    # The mark over the letter, and with it encoded: `xn--exmple-cua` is "exámple".
    ALIKE = ("mio@xn--exmple-cua.org", "MIO@example.org", "mio@xn--exmple-4nf.org")

    @pytest.mark.parametrize("alike", ALIKE)
    async def test_gets_none_of_their_letters(self, people: People, served: Served, alike: str) -> None:
        await people.register("Mio")

        reset = (await served.accounts.BeginPasswordReset(pb.BeginPasswordResetRequest(email=alike))).step
        await people.choose(await people.begin(alike), Kind.CHALLENGE_KIND_EMAIL_CODE)
        await people.choose(await people.begin(alike), Kind.CHALLENGE_KIND_MAGIC_LINK)

        silent = [letter for letter in await people.post.letters(alike) if letter.kind != SILENCE]
        assert reset.challenge.kind == Kind.CHALLENGE_KIND_EMAIL_CODE
        assert [] == silent

    @pytest.mark.parametrize("odd", ["mio@example.org\r\nBcc: x@y.z", " mio@example.org ", "mіo@example.org", "mio"])  # noqa: RUF001
    async def test_is_refused_where_it_is_none(self, people: People, served: Served, odd: str) -> None:
        for call in (people.begin(odd), served.accounts.BeginPasswordReset(pb.BeginPasswordResetRequest(email=odd))):
            refused = await refusal(call)
            assert (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID") == (refused.code, refused.reason)
            assert "email" in refused.fields


class TestPasswordReset:
    async def test_takes_a_code_and_then_a_new_password(self, people: People, served: Served) -> None:
        old = await people.register("Mio")
        step = (await served.accounts.BeginPasswordReset(pb.BeginPasswordResetRequest(email=ADDRESS))).step
        step = await people.answer(step, CODE, await people.post.code(ADDRESS))
        common = await refusal(people.answer(step, NEW_PASSWORD, "password1"))

        done = await people.answer(step, NEW_PASSWORD, "eight swans on the pond")
        refused = await refusal(people.sign_in(ADDRESS))
        step = await people.sign_in(ADDRESS, "eight swans on the pond")

        assert "PASSWORD_TOO_COMMON" == common.reason
        assert done.tokens.access_token
        assert "ANSWER_WRONG" == refused.reason
        assert step.tokens.access_token
        assert await signed_out(served, old)
        assert "password_changed" in [letter.kind for letter in await people.post.letters(ADDRESS)]

    async def test_goes_on_the_same_for_an_address_that_nobody_has(self, people: People, served: Served) -> None:
        """A4."""
        step = (await served.accounts.BeginPasswordReset(pb.BeginPasswordResetRequest(email="moo@example.org"))).step

        refused = await refusal(people.answer(step, CODE, "000000"))

        assert (CODE, "ANSWER_WRONG") == (step.challenge.kind, refused.reason)
