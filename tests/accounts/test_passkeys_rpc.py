"""Passkeys: made, signed in with, asked for as a second proof, and of no use when anything about them is wrong."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from webauthn.helpers import bytes_to_base64url

from ani.accounts.v1 import accounts_service_pb2, second_factor_pb2, sign_in_pb2
from ani.accounts.v1 import second_factors_service_pb2 as pb
from ani.accounts.v1 import second_factors_service_pb2_grpc as stubs
from tests.accounts.authenticators import SoftPasskey
from tests.accounts.people import Kind, People, PostOffice, bearer
from tests.serving import Metadata, Served, refusal

MIO = "mio@example.org"
PASSKEY = Kind.CHALLENGE_KIND_PASSKEY


@dataclass
class Holder:
    """Somebody who is signed in, with a device that holds a passkey."""

    served: Served
    people: People
    metadata: Metadata
    account_id: str
    passkey: SoftPasskey = field(default_factory=SoftPasskey)

    @property
    def service(self) -> stubs.SecondFactorsServiceAsyncStub:
        return stubs.SecondFactorsServiceStub(self.served.channel)

    async def begin(self) -> pb.BeginPasskeyResponse:
        return await self.service.BeginPasskey(pb.BeginPasskeyRequest(), metadata=self.metadata)

    async def create(self, setup: str, credential: str, *, required: bool = False) -> second_factor_pb2.Passkey:
        request = pb.CreatePasskeyRequest(setup=setup, credential=credential, name="Telephone", required=required)
        return (await self.service.CreatePasskey(request, metadata=self.metadata)).passkey

    async def add(self, *, required: bool = False, passkey: SoftPasskey | None = None) -> second_factor_pb2.Passkey:
        begun = await self.begin()
        return await self.create(begun.setup, (passkey or self.passkey).make(begun.options), required=required)

    async def change(self, passkey: second_factor_pb2.Passkey, *paths: str) -> second_factor_pb2.Passkey:
        request = pb.UpdatePasskeyRequest(passkey=passkey, update_mask=FieldMask(paths=paths))
        return (await self.service.UpdatePasskey(request, metadata=self.metadata)).passkey

    async def kept(self) -> second_factor_pb2.SecondFactors:
        return (await self.service.GetSecondFactors(pb.GetSecondFactorsRequest(), metadata=self.metadata)).second_factors

    async def ask(self) -> sign_in_pb2.SignInStep:
        """Begin to sign in with a passkey."""
        return (await self.served.accounts.BeginSignIn(accounts_service_pb2.BeginSignInRequest(passkey=True))).step

    async def enter(self, **over: Any) -> sign_in_pb2.SignInStep:
        step = await self.ask()
        return await self.people.answer(step, PASSKEY, self.passkey.sign(step.challenge.passkey_options, **over))


@pytest.fixture
async def holder(served: Served, people: People) -> Holder:
    tokens = await people.register("Mio")
    return Holder(served, people, bearer(tokens), tokens.account_id)


class TestAdding:
    async def test_makes_a_passkey_that_signs_in_without_anything_else(self, holder: Holder) -> None:
        made = await holder.add()
        done = await holder.enter()
        used = (await holder.kept()).passkeys[0]

        assert ("Telephone", False, True) == (made.name, made.required, made.synced)
        assert holder.account_id == done.tokens.account_id
        assert used.HasField("use_time")
        assert not made.HasField("use_time")

    async def test_says_what_browsers_need(self, holder: Holder) -> None:
        await holder.add()
        options = json.loads((await holder.begin()).options)
        assertion = json.loads((await holder.ask()).challenge.passkey_options)

        assert {"id": "localhost", "name": "Ani"} == options["rp"]
        assert MIO == options["user"]["name"]
        assert [bytes_to_base64url(holder.passkey.credential_id)] == [known["id"] for known in options["excludeCredentials"]]
        assert ["hybrid", "internal"] == options["excludeCredentials"][0]["transports"]
        assert "required" == assertion["userVerification"]
        assert not assertion.get("allowCredentials")

    async def test_sent_again_gives_the_same_passkey(self, holder: Holder) -> None:
        """E4."""
        begun = await holder.begin()
        credential = holder.passkey.make(begun.options)
        both = await asyncio.gather(*(holder.create(begun.setup, credential) for _ in range(2)))

        assert both[0].passkey_id == both[1].passkey_id
        assert 1 == len((await holder.kept()).passkeys)

    @pytest.mark.parametrize(
        "over",
        [
            {"challenge": "AAAAAAAAAAAAAAAAAAAAAA"},
            {"clientDataJSON": "e30"},
            {"attestationObject": "_____w"},
            {"attestationObject": bytes_to_base64url(b"\x81" * 3000)},
            {"attestationObject": 7},
        ],
        ids=["another challenge", "nothing", "no CBOR", "depths", "a number"],
    )
    async def test_takes_no_credential_that_does_not_fit(self, holder: Holder, over: dict[str, Any]) -> None:
        begun = await holder.begin()
        refused = await refusal(holder.create(begun.setup, holder.passkey.make(begun.options, **over)))

        assert (grpc.StatusCode.INVALID_ARGUMENT, "CREDENTIAL_WRONG") == (refused.code, refused.reason)

    @pytest.mark.parametrize("credential", ["null", "[]", "{}", "7", '"x"', "{", '{"id": "x", "rawId": "x", "type": "public-key"}'])
    async def test_takes_nothing_that_is_no_credential(self, holder: Holder, credential: str) -> None:
        begun = await holder.begin()

        assert "CREDENTIAL_WRONG" == (await refusal(holder.create(begun.setup, credential))).reason

    @pytest.mark.parametrize(
        "device", [SoftPasskey(origin="https://localhost.example.org"), SoftPasskey(domain="example.org")], ids=["origin", "domain"]
    )
    async def test_takes_none_that_was_made_elsewhere(self, holder: Holder, device: SoftPasskey) -> None:
        assert "CREDENTIAL_WRONG" == (await refusal(holder.add(passkey=device))).reason

    async def test_takes_none_that_another_has(self, holder: Holder, served: Served, people: People) -> None:
        await holder.add()
        yui = await people.register("Yui")
        other = Holder(served, people, bearer(yui), yui.account_id)
        refused = await refusal(other.add(passkey=holder.passkey))

        assert (grpc.StatusCode.ALREADY_EXISTS, "CREDENTIAL_TAKEN") == (refused.code, refused.reason)

    async def test_takes_no_more_than_twenty(self, holder: Holder, database_url: str) -> None:
        begun = await holder.begin()
        connection = await asyncpg.connect(database_url)
        await connection.execute(
            """
            INSERT INTO accounts.passkeys
            SELECT gen_random_uuid(), $1, sha256(n::text::bytea), '', 0, 'x', false, '{}', '', false, now(), NULL
            FROM generate_series(1, 20) AS n
            """,
            holder.account_id,
        )
        await connection.close()

        assert "PASSKEYS_TOO_MANY" == (await refusal(holder.begin())).reason
        assert "PASSKEYS_TOO_MANY" == (await refusal(holder.create(begun.setup, holder.passkey.make(begun.options)))).reason


class TestSigningIn:
    @pytest.mark.parametrize(
        "over",
        [
            {"challenge": "AAAAAAAAAAAAAAAAAAAAAA"},
            {"signature": "MEUCIQ"},
            {"userHandle": bytes_to_base64url(b"somebody else...")},
            {"userHandle": ""},
            {"userHandle": 7},
            {"authenticatorData": "AAAA"},
            {"client_data": "bm90aGluZw"},
        ],
        ids=["challenge", "signature", "holder", "nobody", "number", "data", "client data"],
    )
    async def test_is_refused_for_an_answer_that_is_wrong(self, holder: Holder, over: dict[str, Any]) -> None:
        await holder.add()

        assert "ANSWER_WRONG" == (await refusal(holder.enter(**over))).reason

    async def test_needs_a_passkey_that_was_unlocked(self, holder: Holder) -> None:
        await holder.add()
        holder.passkey.verifies = False

        assert "ANSWER_WRONG" == (await refusal(holder.enter())).reason

    async def test_is_refused_from_another_origin(self, holder: Holder) -> None:
        await holder.add()
        holder.passkey.origin = "http://localhost:3001"

        assert "ANSWER_WRONG" == (await refusal(holder.enter())).reason

    async def test_is_refused_to_a_copy_whose_count_is_behind(self, holder: Holder) -> None:
        await holder.add()
        await holder.enter()
        await holder.enter()
        holder.passkey.count = 0

        assert "ANSWER_WRONG" == (await refusal(holder.enter())).reason

    async def test_takes_passkeys_that_keep_no_count(self, holder: Holder) -> None:
        holder.passkey.counts = False
        await holder.add()
        await holder.enter()

        assert (await holder.enter()).HasField("tokens")

    async def test_takes_an_answer_once(self, holder: Holder) -> None:
        holder.passkey.counts = False
        await holder.add()
        step = await holder.ask()
        answer = holder.passkey.sign(step.challenge.passkey_options)
        together = (holder.people.answer(step, PASSKEY, answer) for _ in range(4))
        done = await asyncio.gather(*together, return_exceptions=True)
        elsewhere = await refusal(holder.people.answer(await holder.ask(), PASSKEY, answer))

        assert 1 == len([one for one in done if not isinstance(one, BaseException)])
        assert "ANSWER_WRONG" == elsewhere.reason

    async def test_is_refused_to_a_passkey_that_nobody_has(self, holder: Holder) -> None:
        holder.passkey.user = bytes_to_base64url(b"x" * 16)

        assert "ANSWER_WRONG" == (await refusal(holder.enter())).reason
        assert "ANSWER_WRONG" == (await refusal(holder.people.answer(await holder.ask(), PASSKEY, "null"))).reason

    async def test_is_refused_to_one_that_was_forgotten(self, holder: Holder) -> None:
        made = await holder.add()
        await holder.service.DeletePasskey(pb.DeletePasskeyRequest(passkey_id=made.passkey_id), metadata=holder.metadata)

        assert "ANSWER_WRONG" == (await refusal(holder.enter())).reason


class TestAsASecondProof:
    async def test_is_asked_for_when_it_is_required(self, holder: Holder) -> None:
        await holder.add(required=True)
        holder.passkey.verifies = False
        asked = await holder.people.sign_in(MIO)
        options = json.loads(asked.challenge.passkey_options)
        done = await holder.people.answer(asked, PASSKEY, holder.passkey.sign(asked.challenge.passkey_options))

        assert PASSKEY == asked.challenge.kind
        assert [bytes_to_base64url(holder.passkey.credential_id)] == [known["id"] for known in options["allowCredentials"]]
        assert done.HasField("tokens")

    async def test_is_not_asked_for_otherwise(self, holder: Holder) -> None:
        await holder.add()

        assert (await holder.people.sign_in(MIO)).HasField("tokens")

    async def test_is_no_proof_for_another_account(self, holder: Holder, served: Served, people: People) -> None:
        await holder.add(required=True)
        yui = await people.register("Yui")
        other = Holder(served, people, bearer(yui), yui.account_id)
        await other.add()
        asked = await people.sign_in(MIO)
        refused = await refusal(people.answer(asked, PASSKEY, other.passkey.sign(asked.challenge.passkey_options)))

        assert "ANSWER_WRONG" == refused.reason


class TestKeeping:
    async def test_changes_name_and_whether_it_is_required(self, holder: Holder, post: PostOffice) -> None:
        made = await holder.add()
        made.name, made.required = "Laptop", True
        renamed = await holder.change(made, "name")
        required = await holder.change(made, "required")
        told = [letter.facts["what"] for letter in await post.letters(MIO) if letter.kind == "second_factor_changed"]

        assert ("Laptop", False) == (renamed.name, renamed.required)
        assert required.required
        assert ["passkey_added", "passkey_required"] == told

    @pytest.mark.parametrize(
        ("path", "reason"), [("synced", "PASSKEY_FIELD_NOT_WRITABLE"), ("passkey_id", "PASSKEY_FIELD_NOT_WRITABLE")]
    )
    async def test_changes_nothing_else(self, holder: Holder, path: str, reason: str) -> None:
        """B4."""
        made = await holder.add()

        assert reason == (await refusal(holder.change(made, path))).reason

    async def test_gives_it_no_empty_name(self, holder: Holder) -> None:
        made = await holder.add()
        made.name = ""

        assert "PASSKEY_NAME_MISSING" == (await refusal(holder.change(made, "name"))).reason

    async def test_is_for_its_owner_alone(self, holder: Holder, served: Served, people: People) -> None:
        """B2."""
        made = await holder.add()
        yui = await people.register("Yui")
        other = Holder(served, people, bearer(yui), yui.account_id)
        delete = pb.DeletePasskeyRequest(passkey_id=made.passkey_id)

        assert "PASSKEY_NOT_FOUND" == (await refusal(other.change(made, "name"))).reason
        assert "PASSKEY_NOT_FOUND" == (await refusal(other.service.DeletePasskey(delete, metadata=other.metadata))).reason
        assert 1 == len((await holder.kept()).passkeys)
