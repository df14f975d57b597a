"""Authenticators and recovery codes: set up, asked for, and good once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import asyncpg
import grpc
import pytest

from ani.accounts.v1 import accounts_service_pb2, own_account_service_pb2, sign_in_pb2
from ani.accounts.v1 import second_factors_service_pb2 as pb
from ani.accounts.v1 import second_factors_service_pb2_grpc as stubs
from tests.accounts.authenticators import shown, step_now
from tests.accounts.people import PASSWORD, Kind, People, PostOffice, bearer
from tests.serving import Metadata, Served, refusal, taken_apart

MIO = "mio@example.org"
TOTP, RECOVERY = Kind.CHALLENGE_KIND_TOTP, Kind.CHALLENGE_KIND_RECOVERY_CODE


@dataclass
class Desk:
    """Mio, who is signed in, at her own second factors."""

    served: Served
    people: People
    metadata: Metadata
    account_id: str
    database_url: str
    seed: str = ""

    @property
    def service(self) -> stubs.SecondFactorsServiceAsyncStub:
        return stubs.SecondFactorsServiceStub(self.served.channel)

    async def get(self) -> pb.GetSecondFactorsResponse:
        return await self.service.GetSecondFactors(pb.GetSecondFactorsRequest(), metadata=self.metadata)

    async def set_up(self, step: int | None = None) -> list[str]:
        """Set up an authenticator by what it shows at a step; return the recovery codes."""
        begun = await self.service.BeginTotp(pb.BeginTotpRequest(), metadata=self.metadata)
        self.seed = begun.secret
        code = shown(self.seed, step_now() if step is None else step)
        confirm = pb.ConfirmTotpRequest(setup=begun.setup, code=code)
        return list((await self.service.ConfirmTotp(confirm, metadata=self.metadata)).recovery_codes)

    async def sql(self, statement: str, *values: object) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.database_url)
        try:
            return list(await connection.fetch(statement, *values))
        finally:
            await connection.close()

    async def forget_steps(self) -> None:
        await self.sql("UPDATE accounts.totps SET last_step = 0")

    async def forget_proof(self) -> None:
        await self.sql("UPDATE accounts.sessions SET proof_time = proof_time - interval '11 minutes'")


@pytest.fixture
async def desk(served: Served, people: People, database_url: str) -> Desk:
    tokens = await people.register("Mio")
    return Desk(served, people, bearer(tokens), tokens.account_id, database_url)


class TestSettingUp:
    async def test_asks_for_a_code_at_the_next_sign_in(self, desk: Desk) -> None:
        step = step_now()
        await desk.set_up(step)
        asked = await desk.people.sign_in(MIO)
        done = await desk.people.answer(asked, TOTP, shown(desk.seed, step + 1))

        assert TOTP == asked.challenge.kind
        assert [RECOVERY] == list(asked.challenge.alternatives)
        assert desk.account_id == done.tokens.account_id

    async def test_is_asked_for_once_however_often_the_password_is_sent_at_once(self, desk: Desk) -> None:
        await desk.set_up()
        begun = await desk.people.begin(MIO)

        answers = await asyncio.gather(
            *(desk.people.answer(begun, Kind.CHALLENGE_KIND_PASSWORD, PASSWORD) for _ in range(4)), return_exceptions=True
        )

        refused = [taken_apart(one) for one in answers if isinstance(one, grpc.aio.AioRpcError)]
        assert [TOTP] == [one.challenge.kind for one in answers if not isinstance(one, BaseException)]
        assert {"CHALLENGE_NOT_OFFERED"} == {one.reason for one in refused}
        assert all("TOTP" in one.info.metadata["offered"] for one in refused)

    async def test_shows_what_authenticators_read(self, desk: Desk) -> None:
        begun = await desk.service.BeginTotp(pb.BeginTotpRequest(), metadata=desk.metadata)

        assert 32 == len(begun.secret)
        assert begun.uri.startswith("otpauth://totp/Ani:mio%40example.org?")
        assert f"secret={begun.secret}" in begun.uri

    async def test_changes_nothing_until_it_is_confirmed(self, desk: Desk) -> None:
        begun = await desk.service.BeginTotp(pb.BeginTotpRequest(), metadata=desk.metadata)
        wrong = f"{(int(shown(begun.secret, step_now())) + 1) % 10**6:06}"
        refused = await refusal(
            desk.service.ConfirmTotp(pb.ConfirmTotpRequest(setup=begun.setup, code=wrong), metadata=desk.metadata)
        )

        assert (grpc.StatusCode.INVALID_ARGUMENT, "TOTP_CODE_WRONG") == (refused.code, refused.reason)
        assert not (await desk.get()).second_factors.required

    async def test_belongs_to_the_session_that_began_it(self, desk: Desk) -> None:
        begun = await desk.service.BeginTotp(pb.BeginTotpRequest(), metadata=desk.metadata)
        other = bearer((await desk.people.sign_in(MIO)).tokens)
        request = pb.ConfirmTotpRequest(setup=begun.setup, code=shown(begun.secret, step_now()))
        refused = await refusal(desk.service.ConfirmTotp(request, metadata=other))
        garbled = pb.ConfirmTotpRequest(setup=begun.setup[:-2], code="000000")

        assert "SETUP_OVER" == refused.reason
        assert "SETUP_OVER" == (await refusal(desk.service.ConfirmTotp(garbled, metadata=desk.metadata))).reason

    async def test_needs_a_fresh_proof(self, desk: Desk) -> None:
        """A15."""
        await desk.set_up()
        await desk.forget_proof()
        service, metadata = desk.service, desk.metadata
        calls = [
            service.BeginTotp(pb.BeginTotpRequest(), metadata=metadata),
            service.DeleteTotp(pb.DeleteTotpRequest(), metadata=metadata),
            service.CreateRecoveryCodes(pb.CreateRecoveryCodesRequest(), metadata=metadata),
            service.BeginPasskey(pb.BeginPasskeyRequest(), metadata=metadata),
        ]

        for call in calls:
            assert "PROOF_TOO_OLD" == (await refusal(call)).reason
        assert (await desk.get()).second_factors.required

    async def test_sent_again_brings_recovery_codes_again(self, desk: Desk, post: PostOffice) -> None:
        """E4."""
        begun = await desk.service.BeginTotp(pb.BeginTotpRequest(), metadata=desk.metadata)
        request = pb.ConfirmTotpRequest(setup=begun.setup, code=shown(begun.secret, step_now()))
        lost = await desk.service.ConfirmTotp(request, metadata=desk.metadata)
        again = await desk.service.ConfirmTotp(request, metadata=desk.metadata)
        asked = await desk.people.sign_in(MIO)
        letters = [letter for letter in await post.letters(MIO) if letter.kind == "second_factor_changed"]

        assert 1 == len(letters)
        assert "ANSWER_WRONG" == (await refusal(desk.people.answer(asked, RECOVERY, lost.recovery_codes[0]))).reason
        assert "ANSWER_WRONG" == (await refusal(desk.people.answer(asked, TOTP, request.code))).reason
        assert (await desk.people.answer(asked, RECOVERY, again.recovery_codes[0])).HasField("tokens")

    async def test_is_told_to_the_owner(self, desk: Desk, post: PostOffice) -> None:
        await desk.set_up()
        await desk.service.DeleteTotp(pb.DeleteTotpRequest(), metadata=desk.metadata)
        await desk.service.DeleteTotp(pb.DeleteTotpRequest(), metadata=desk.metadata)
        told = [letter.facts["what"] for letter in await post.letters(MIO) if letter.kind == "second_factor_changed"]

        assert ["totp_added", "totp_removed"] == told

    async def test_leaves_no_seed_and_no_code_to_be_read_in_the_database(self, desk: Desk) -> None:
        """A8."""
        codes = await desk.set_up()
        totp = (await desk.sql("SELECT * FROM accounts.totps"))[0]
        kept = [bytes(row["code_hash"]) for row in await desk.sql("SELECT * FROM accounts.recovery_codes")]

        assert desk.seed not in str(totp)
        assert 10 == len(kept)
        assert not any(code.encode() in hashed or code.replace("-", "").encode() in hashed for code in codes for hashed in kept)

    async def test_ends_with_the_authenticator(self, desk: Desk) -> None:
        await desk.set_up()
        await desk.service.DeleteTotp(pb.DeleteTotpRequest(), metadata=desk.metadata)
        now = (await desk.get()).second_factors
        refused = await refusal(desk.service.CreateRecoveryCodes(pb.CreateRecoveryCodesRequest(), metadata=desk.metadata))

        assert (False, 0) == (now.required, now.recovery_codes_left)
        assert "NO_SECOND_FACTOR" == refused.reason
        assert (await desk.people.sign_in(MIO)).HasField("tokens")


class TestCodes:
    async def test_are_good_once(self, desk: Desk) -> None:
        """A9."""
        step = step_now()
        await desk.set_up(step)
        first, second = await desk.people.sign_in(MIO), await desk.people.sign_in(MIO)
        replayed = await refusal(desk.people.answer(first, TOTP, shown(desk.seed, step)))
        await desk.people.answer(first, TOTP, shown(desk.seed, step + 1))
        again = await refusal(desk.people.answer(second, TOTP, shown(desk.seed, step + 1)))

        assert "ANSWER_WRONG" == replayed.reason
        assert "ANSWER_WRONG" == again.reason

    async def test_are_good_once_however_many_send_them_together(self, desk: Desk) -> None:
        """A8."""
        step = step_now()
        await desk.set_up(step)
        steps = [await desk.people.sign_in(MIO) for _ in range(4)]
        answers = (desk.people.answer(one, TOTP, shown(desk.seed, step + 1)) for one in steps)
        done = await asyncio.gather(*answers, return_exceptions=True)

        assert 1 == len([one for one in done if not isinstance(one, BaseException)])

    @pytest.mark.parametrize("away", [-3, 3, 120])
    async def test_are_good_for_a_step_around_now(self, desk: Desk, away: int) -> None:
        """A9."""
        await desk.set_up()
        await desk.forget_steps()
        asked = await desk.people.sign_in(MIO)
        refused = await refusal(desk.people.answer(asked, TOTP, shown(desk.seed, step_now() + away)))

        assert "ANSWER_WRONG" == refused.reason
        assert (await desk.people.answer(asked, TOTP, shown(desk.seed, step_now()))).HasField("tokens")

    async def test_may_be_typed_with_spaces(self, desk: Desk) -> None:
        step = step_now()
        await desk.set_up(step)
        code = shown(desk.seed, step + 1)

        assert (await desk.people.answer(await desk.people.sign_in(MIO), TOTP, f" {code[:3]} {code[3:]}")).HasField("tokens")

    async def test_are_guessed_five_times_and_no_more(self, desk: Desk) -> None:
        """A7."""
        step = step_now()
        await desk.set_up(step)
        asked = await desk.people.sign_in(MIO)
        right = shown(desk.seed, step + 1)
        wrong = [f"{(int(right) + 1 + guess) % 10**6:06}" for guess in range(7)]
        reasons = [(await refusal(desk.people.answer(asked, TOTP, code))).reason for code in [*wrong, right]]

        assert reasons.count("ANSWER_WRONG") <= 5
        assert "TOO_MANY_TRIES" == reasons[-1]

    async def test_are_asked_for_whichever_way_somebody_comes(self, desk: Desk, post: PostOffice) -> None:
        """No pathway is weaker than the others."""
        await desk.set_up()
        by_letter = await desk.people.choose(await desk.people.begin(MIO), Kind.CHALLENGE_KIND_EMAIL_CODE)
        by_letter = await desk.people.answer(by_letter, Kind.CHALLENGE_KIND_EMAIL_CODE, await post.code(MIO))
        reset = await desk.served.accounts.BeginPasswordReset(accounts_service_pb2.BeginPasswordResetRequest(email=MIO))
        by_reset = await desk.people.answer(reset.step, Kind.CHALLENGE_KIND_EMAIL_CODE, await post.code(MIO))

        assert TOTP == by_letter.challenge.kind
        assert TOTP == by_reset.challenge.kind

    async def test_prove_again_who_is_signed_in(self, desk: Desk) -> None:
        step = step_now()
        await desk.set_up(step)
        await desk.forget_proof()
        begun = (await desk.served.own_account.BeginProof(own_account_service_pb2.BeginProofRequest(), metadata=desk.metadata)).step
        asked = await _with_password(desk, begun)
        done = await desk.people.answer(asked, TOTP, shown(desk.seed, step + 1))
        await desk.service.DeleteTotp(pb.DeleteTotpRequest(), metadata=desk.metadata)

        assert done.done
        assert not (await desk.get()).second_factors.required


class TestRecoveryCodes:
    async def test_let_somebody_in_once_each(self, desk: Desk, post: PostOffice) -> None:
        """A9."""
        codes = await desk.set_up()
        done = await desk.people.answer(await desk.people.sign_in(MIO), RECOVERY, codes[3].lower().replace("-", " "))
        again = await refusal(desk.people.answer(await desk.people.sign_in(MIO), RECOVERY, codes[3]))
        letters = [letter.facts for letter in await post.letters(MIO) if letter.kind == "second_factor_changed"]

        assert done.HasField("tokens")
        assert "ANSWER_WRONG" == again.reason
        assert 9 == (await desk.get()).second_factors.recovery_codes_left
        assert {"what": "recovery_code_used"} in letters

    async def test_let_somebody_in_once_when_sent_together(self, desk: Desk) -> None:
        """A8."""
        codes = await desk.set_up()
        steps = [await desk.people.sign_in(MIO) for _ in range(4)]
        done = await asyncio.gather(*(desk.people.answer(one, RECOVERY, codes[0]) for one in steps), return_exceptions=True)

        assert 1 == len([one for one in done if not isinstance(one, BaseException)])

    async def test_are_of_no_use_to_anybody_else(self, desk: Desk, served: Served, people: People) -> None:
        codes = await desk.set_up()
        yui = await people.register("Yui")
        other = Desk(served, people, bearer(yui), yui.account_id, desk.database_url)
        await other.set_up()

        assert "ANSWER_WRONG" == (await refusal(people.answer(await people.sign_in("yui@example.org"), RECOVERY, codes[0]))).reason

    async def test_are_made_anew(self, desk: Desk) -> None:
        old = await desk.set_up()
        made = await desk.service.CreateRecoveryCodes(pb.CreateRecoveryCodesRequest(), metadata=desk.metadata)
        asked = await desk.people.sign_in(MIO)

        assert 10 == len(set(made.recovery_codes) - set(old))
        assert "ANSWER_WRONG" == (await refusal(desk.people.answer(asked, RECOVERY, old[0]))).reason
        assert (await desk.people.answer(asked, RECOVERY, made.recovery_codes[0])).HasField("tokens")

    async def test_stay_when_the_authenticator_is_replaced(self, desk: Desk) -> None:
        codes = await desk.set_up()
        more = await desk.set_up()

        assert [] == more
        assert (await desk.people.answer(await desk.people.sign_in(MIO), RECOVERY, codes[0])).HasField("tokens")


async def _with_password(desk: Desk, step: sign_in_pb2.SignInStep) -> sign_in_pb2.SignInStep:
    return await desk.people.answer(step, Kind.CHALLENGE_KIND_PASSWORD, PASSWORD)
