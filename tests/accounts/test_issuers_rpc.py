"""Accounts at other issuers: signed in with, linked and unlinked, over a real issuer that is told to lie."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import asyncpg
import grpc
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

import adapters.issuers
from ani.accounts.v1 import accounts_service_pb2, own_account_service_pb2, sign_in_pb2
from ani.accounts.v1 import issuer_links_service_pb2 as pb
from ani.accounts.v1 import issuer_links_service_pb2_grpc as stubs
from server.issuers import KnownIssuer
from server.settings import Settings, SettingsRefused
from tests.accounts.authenticators import step_now
from tests.accounts.local_issuer import CLIENT, REDIRECT, SECRET, LocalIssuer, symmetric
from tests.accounts.people import Kind, People, PostOffice, bearer
from tests.accounts.test_second_factors_rpc import Desk
from tests.serving import Metadata, Served, refusal

OIDC = Kind.CHALLENGE_KIND_OIDC
MIO = "mio@example.org"
LINK = pb.BeginIssuerLinkRequest(issuer="local")


@pytest.fixture
def issuer() -> Iterator[LocalIssuer]:
    with LocalIssuer() as running:
        yield running


@pytest.fixture
def settings(settings: Settings, issuer: LocalIssuer) -> Settings:
    known = KnownIssuer(name="local", issuer=issuer.issuer, client_id=CLIENT, redirect_uri=REDIRECT)
    return replace(settings, issuers=(known,), issuer_secrets=(("local", SECRET),))


@dataclass
class Door:
    """Where people come in by way of the issuer."""

    served: Served
    people: People
    issuer: LocalIssuer

    @property
    def links(self) -> stubs.IssuerLinksServiceAsyncStub:
        return stubs.IssuerLinksServiceStub(self.served.channel)

    async def ask(self, issuer: str = "local") -> sign_in_pb2.SignInStep:
        return (await self.served.accounts.BeginSignIn(accounts_service_pb2.BeginSignInRequest(issuer=issuer))).step

    async def enter(self) -> sign_in_pb2.SignInStep:
        step = await self.ask()
        return await self.people.answer(step, OIDC, self.issuer.visit(step.challenge.authorization_url))

    async def refused(self) -> str:
        return (await refusal(self.enter())).reason

    async def link(self, metadata: Metadata) -> pb.IssuerLink:
        begun = await self.links.BeginIssuerLink(LINK, metadata=metadata)
        request = pb.CreateIssuerLinkRequest(setup=begun.setup, answer=self.issuer.visit(begun.authorization_url))
        return (await self.links.CreateIssuerLink(request, metadata=metadata)).issuer_link

    async def linked(self, metadata: Metadata) -> list[str]:
        answer = await self.links.ListIssuerLinks(pb.ListIssuerLinksRequest(), metadata=metadata)
        return [link.issuer for link in answer.issuer_links]


@pytest.fixture
def door(served: Served, people: People, issuer: LocalIssuer) -> Door:
    return Door(served, people, issuer)


class TestSigningIn:
    async def test_opens_an_account_and_comes_back_to_it(self, door: Door) -> None:
        first, second = await door.enter(), await door.enter()
        request = own_account_service_pb2.GetAccountRequest()
        account = (await door.served.own_account.GetAccount(request, metadata=bearer(first.tokens))).account

        assert first.tokens.account_id == second.tokens.account_id
        assert (MIO, "Mio Elsewhere", False) == (account.email, account.name, account.has_password)
        assert account.HasField("email_verify_time")

    async def test_goes_by_what_the_issuer_knows_somebody_by_and_not_by_their_address(self, door: Door) -> None:
        first = await door.enter()
        door.issuer.person["email"] = "elsewhere@example.org"
        second = await door.enter()
        door.issuer.person |= {"sub": "1002", "email": MIO}

        assert first.tokens.account_id == second.tokens.account_id
        assert "ACCOUNT_NOT_LINKED" == await door.refused()

    async def test_never_signs_in_to_an_account_only_for_its_address(self, door: Door) -> None:
        await door.people.register("Mio")

        assert "ACCOUNT_NOT_LINKED" == await door.refused()

    @pytest.mark.parametrize("over", [{"email_verified": False}, {"email_verified": None}, {"email_verified": [1]}, {"email": "x"}])
    async def test_opens_no_account_without_an_address_that_the_issuer_verified(self, door: Door, over: dict[str, Any]) -> None:
        door.issuer.claims = over

        assert "ADDRESS_NOT_VOUCHED_FOR" == await door.refused()

    async def test_takes_the_address_from_where_the_issuer_tells_it(self, door: Door) -> None:
        door.issuer.about = {"userinfo_endpoint": f"{door.issuer.issuer}/me"}
        door.issuer.claims = {"email": None, "email_verified": None}

        assert (await door.enter()).HasField("tokens")

    async def test_asks_for_the_second_factor_all_the_same(self, door: Door, database_url: str) -> None:
        tokens = (await door.enter()).tokens
        desk = Desk(door.served, door.people, bearer(tokens), tokens.account_id, database_url)
        await desk.set_up(step_now())

        assert Kind.CHALLENGE_KIND_TOTP == (await door.enter()).challenge.kind

    async def test_knows_no_other_issuer(self, door: Door) -> None:
        refused = await refusal(door.ask("evil"))
        known = await door.links.ListIssuers(pb.ListIssuersRequest())

        assert (grpc.StatusCode.INVALID_ARGUMENT, "ISSUER_UNKNOWN") == (refused.code, refused.reason)
        assert ["local"] == list(known.issuers)

    async def test_keeps_nothing_in_the_database_that_a_code_could_be_exchanged_with(self, door: Door, database_url: str) -> None:
        step = await door.ask()
        door.issuer.visit(step.challenge.authorization_url)
        connection = await asyncpg.connect(database_url)
        state = await connection.fetchval("SELECT state::text FROM accounts.sign_ins")
        await connection.close()
        asked = next(iter(door.issuer.codes.values()))

        assert "sealed" in state
        assert not any(asked[name] in state for name in ("state", "nonce"))


class TestTokens:
    @pytest.mark.parametrize(
        "over",
        [
            {"nonce": "another"},
            {"nonce": None},
            {"nonce": 7},
            {"iss": "https://evil.example"},
            {"iss": None},
            {"aud": "somebody else"},
            {"aud": [CLIENT, "somebody else"]},
            {"aud": None},
            {"azp": "somebody else"},
            {"exp": 1_700_000_000},
            {"exp": None},
            {"iat": 4_000_000_000},
            {"nbf": 4_000_000_000},
            {"sub": ""},
            {"sub": None},
            {"sub": 7},
            {"sub": "x" * 256},
        ],
        ids=str,
    )
    async def test_are_refused_that_say_something_wrong(self, door: Door, over: dict[str, Any]) -> None:
        door.issuer.claims = over

        assert "ANSWER_WRONG" == await door.refused()

    async def test_may_be_for_several_when_they_were_given_to_the_platform(self, door: Door) -> None:
        door.issuer.claims = {"aud": [CLIENT, "somebody else"], "azp": CLIENT}

        assert (await door.enter()).HasField("tokens")

    @pytest.mark.parametrize("kid", ["first", "second", "symmetric", "../first", None])
    async def test_are_refused_that_another_key_signed(self, door: Door, kid: str | None) -> None:
        other = ec.generate_private_key(ec.SECP256R1())
        headers = {"kid": kid} if kid else {}
        door.issuer.forge = lambda claims: jwt.encode(claims, other, algorithm="ES256", headers=headers)

        assert "ANSWER_WRONG" == await door.refused()

    async def test_bring_no_keys_of_their_own(self, door: Door) -> None:
        """A10, for tokens of others."""
        other = ec.generate_private_key(ec.SECP256R1())
        public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(other.public_key())) | {"kid": "first"}
        headers = {"kid": "first", "jwk": public, "jku": f"{door.issuer.issuer}/evil", "x5u": f"{door.issuer.issuer}/evil"}
        door.issuer.forge = lambda claims: jwt.encode(claims, other, algorithm="ES256", headers=headers)

        assert "ANSWER_WRONG" == await door.refused()
        assert "/evil" not in door.issuer.asked

    async def test_are_refused_without_a_signature(self, door: Door) -> None:
        """A10, for tokens of others."""
        door.issuer.forge = lambda claims: jwt.encode(claims, None, algorithm="none", headers={"kid": "first"})  # type: ignore[arg-type]

        assert "ANSWER_WRONG" == await door.refused()

    @pytest.mark.parametrize("kid", ["first", "symmetric"])
    async def test_are_refused_that_are_signed_with_what_others_know(self, door: Door, kid: str) -> None:
        """A10, for tokens of others: the public key, or the client's secret."""
        place = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        public = door.issuer.key.public_key().public_bytes(*place)
        for known in (public, SECRET.encode(), b""):
            door.issuer.forge = partial(symmetric, key=known, kid=kid)

            assert "ANSWER_WRONG" == await door.refused()

    @pytest.mark.parametrize("token", ["", "x", "a.b.c", "e30.e30.", "eyJhbGciOiJFUzI1NiJ9.W10.AAAA"])
    async def test_are_refused_that_are_none(self, door: Door, token: str) -> None:
        door.issuer.forge = lambda _claims: token

        assert "ANSWER_WRONG" == await door.refused()

    async def test_are_good_under_the_issuers_next_key(self, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
        """A17, for tokens of others."""
        await door.enter()
        door.issuer.key, door.issuer.kid = ec.generate_private_key(ec.SECP256R1()), "second"
        too_early = await door.refused()
        monkeypatch.setattr(adapters.issuers, "ASKED_AGAIN_SECONDS", 0.0)

        assert "ANSWER_WRONG" == too_early
        assert (await door.enter()).HasField("tokens")


class TestAnswers:
    async def test_are_good_for_the_sign_in_that_they_were_given_for(self, door: Door) -> None:
        """A8."""
        mine, theirs = await door.ask(), await door.ask()
        answer = door.issuer.visit(theirs.challenge.authorization_url)

        assert "ANSWER_WRONG" == (await refusal(door.people.answer(mine, OIDC, answer))).reason

    async def test_are_bound_by_the_verifier_even_when_the_state_is_right(self, door: Door) -> None:
        mine, theirs = await door.ask(), await door.ask()
        stolen = json.loads(door.issuer.visit(theirs.challenge.authorization_url))
        state = json.loads(door.issuer.visit(mine.challenge.authorization_url))["state"]
        answer = json.dumps({"code": stolen["code"], "state": state})
        door.issuer.answers = lambda path: (400, b'{"error": "invalid_grant"}') if path == "/token" else None

        assert "ANSWER_WRONG" == (await refusal(door.people.answer(mine, OIDC, answer))).reason

    async def test_are_good_once(self, door: Door) -> None:
        step = await door.ask()
        answer = door.issuer.visit(step.challenge.authorization_url)
        together = (door.people.answer(step, OIDC, answer) for _ in range(3))
        done = await asyncio.gather(*together, return_exceptions=True)

        assert 1 == len([one for one in done if not isinstance(one, BaseException)])
        assert "SIGN_IN_OVER" == (await refusal(door.people.answer(step, OIDC, answer))).reason

    @pytest.mark.parametrize(
        "answer", ["null", "[]", "{}", "{", '{"code": 1, "state": "x"}', '{"code": "x"}', '{"code":"x","state":""}']
    )
    async def test_are_refused_that_are_none(self, door: Door, answer: str) -> None:
        step = await door.ask()

        assert "ANSWER_WRONG" == (await refusal(door.people.answer(step, OIDC, answer))).reason
        assert "/token" not in door.issuer.asked


class TestIssuers:
    @pytest.mark.parametrize(
        "about",
        [
            {"issuer": "https://evil.example"},
            {"token_endpoint": None},
            {"token_endpoint": "http://169.254.169.254/token"},
            {"token_endpoint": "http://127.0.0.1@evil.example/token"},
            {"token_endpoint": "file:///etc/passwd"},
            {"jwks_uri": "http://localhost.evil.example/keys"},
        ],
        ids=str,
    )
    async def test_lead_nowhere_else(self, door: Door, about: dict[str, Any]) -> None:
        """C10, for what issuers say of themselves."""
        door.issuer.about = about

        assert "ISSUER_UNAVAILABLE" == await door.refused()

    @pytest.mark.parametrize(
        ("path", "answer"),
        [
            ("/.well-known/openid-configuration", (500, b"")),
            ("/.well-known/openid-configuration", (200, b"[" * 100_000)),
            ("/.well-known/openid-configuration", (200, b" " * 300_000)),
            ("/.well-known/openid-configuration", (302, b"")),
            ("/keys", (200, b'"none"')),
            ("/keys", (503, b"{}")),
            ("/token", (500, b"out of order")),
            ("/token", (401, b'{"error": "invalid_client"}')),
            ("/token", (200, b"{}")),
        ],
    )
    async def test_that_do_not_answer_as_they_should_let_nobody_in(self, door: Door, path: str, answer: tuple[int, bytes]) -> None:
        door.issuer.answers = lambda asked: answer if asked == path else None

        assert await door.refused() in {"ISSUER_UNAVAILABLE", "ANSWER_WRONG"}

    async def test_are_asked_for_themselves_once(self, door: Door) -> None:
        for _ in range(3):
            await door.enter()

        assert 1 == door.issuer.asked.count("/.well-known/openid-configuration")
        assert 1 == door.issuer.asked.count("/keys")


class TestLinking:
    async def test_lets_the_owner_sign_in_with_it(self, door: Door, post: PostOffice) -> None:
        tokens = await door.people.register("Yui")
        link = await door.link(bearer(tokens))
        done = await door.enter()
        listed = (await door.links.ListIssuerLinks(pb.ListIssuerLinksRequest(), metadata=bearer(tokens))).issuer_links

        assert ("local", MIO) == (link.issuer, link.email)
        assert tokens.account_id == done.tokens.account_id
        assert listed[0].HasField("use_time")
        assert "issuer_linked" == (await post.letters("yui@example.org"))[-2].facts["what"]

    async def test_is_undone(self, door: Door) -> None:
        metadata = bearer(await door.people.register("Yui"))
        await door.link(metadata)
        delete = pb.DeleteIssuerLinkRequest(issuer="local")
        await door.links.DeleteIssuerLink(delete, metadata=metadata)

        assert [] == await door.linked(metadata)
        assert "ISSUER_LINK_NOT_FOUND" == (await refusal(door.links.DeleteIssuerLink(delete, metadata=metadata))).reason

    async def test_needs_a_fresh_proof(self, door: Door, database_url: str) -> None:
        """A15."""
        tokens = await door.people.register("Yui")
        desk = Desk(door.served, door.people, bearer(tokens), tokens.account_id, database_url)
        await door.link(desk.metadata)
        await desk.forget_proof()
        delete = pb.DeleteIssuerLinkRequest(issuer="local")

        assert "PROOF_TOO_OLD" == (await refusal(door.links.BeginIssuerLink(LINK, metadata=desk.metadata))).reason
        assert "PROOF_TOO_OLD" == (await refusal(door.links.DeleteIssuerLink(delete, metadata=desk.metadata))).reason

    async def test_is_for_one_account_at_an_issuer_and_one_here(self, door: Door) -> None:
        yui = bearer(await door.people.register("Yui"))
        azusa = bearer(await door.people.register("Azusa"))
        await door.link(yui)
        taken = await refusal(door.link(azusa))
        door.issuer.person["sub"] = "1002"
        second = await refusal(door.link(yui))

        assert (grpc.StatusCode.ALREADY_EXISTS, "ISSUER_ACCOUNT_TAKEN") == (taken.code, taken.reason)
        assert (grpc.StatusCode.FAILED_PRECONDITION, "ISSUER_ALREADY_LINKED") == (second.code, second.reason)

    async def test_is_finished_by_whoever_began_it(self, door: Door) -> None:
        """B2: nobody is made to link an account of somebody else's."""
        yui = bearer(await door.people.register("Yui"))
        azusa = bearer(await door.people.register("Azusa"))
        begun = await door.links.BeginIssuerLink(LINK, metadata=yui)
        request = pb.CreateIssuerLinkRequest(setup=begun.setup, answer=door.issuer.visit(begun.authorization_url))
        refused = await refusal(door.links.CreateIssuerLink(request, metadata=azusa))
        other = await door.links.BeginIssuerLink(LINK, metadata=yui)
        crossed = pb.CreateIssuerLinkRequest(setup=other.setup, answer=request.answer)

        assert "SETUP_OVER" == refused.reason
        assert "ISSUER_ANSWER_WRONG" == (await refusal(door.links.CreateIssuerLink(crossed, metadata=yui))).reason


GOOD = {"name": "home", "issuer": "https://id.example", "client_id": "ani", "redirect_uri": "https://example.org/back"}


class TestSettings:
    def test_name_issuers_in_json(self) -> None:
        given = json.dumps([GOOD | {"scopes": ["openid", "email"], "hosts": ["keys.example"]}])
        settings = Settings.read({"ANI_ISSUERS": given, "ANI_ISSUER_SECRETS": '{"home": "x"}'})

        assert ("home", ("keys.example",)) == (settings.issuers[0].name, settings.issuers[0].hosts)
        assert (("home", "x"),) == settings.issuer_secrets

    @pytest.mark.parametrize(
        "over",
        [
            {"issuer": "http://id.example"},
            {"issuer": "https://id.example?x"},
            {"issuer": "https://me@id.example"},
            {"name": "Home"},
            {"client_id": ""},
            {"redirect_uri": "back"},
            {"scopes": ["email"]},
            {"scopes": "openid"},
            {"name": ["home"]},
            {"hosts": ["https://x"]},
            {"hosts": [7]},
            {"secret": "x"},
        ],
        ids=str,
    )
    def test_are_refused_when_an_issuer_could_not_be_used(self, over: dict[str, Any]) -> None:
        with pytest.raises(SettingsRefused, match="ANI_ISSUERS must be a JSON list"):
            Settings.read({"ANI_ISSUERS": json.dumps([GOOD | over])})

    @pytest.mark.parametrize("text", ["{}", "7", "[7]", "{", '[{"name": "home"}]'])
    def test_are_refused_when_they_are_no_list_of_issuers(self, text: str) -> None:
        with pytest.raises(SettingsRefused, match="ANI_ISSUERS must be a JSON list"):
            Settings.read({"ANI_ISSUERS": text})

    def test_want_issuers_by_https_in_production(self) -> None:
        local = json.dumps([GOOD | {"issuer": "http://127.0.0.1:9"}])

        with pytest.raises(SettingsRefused, match="ANI_ISSUERS must be reached by https"):
            Settings.read({"ANI_ISSUERS": local, "ANI_ENVIRONMENT": "production"})
