"""Access tokens: what is good, and everything that only looks like it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.token_keys import TokenKeys
from adapters.tokens import TokenExpired, TokenInvalid, TokenIssuer, TokenVerifier
from domain.kernel import Role, Unauthenticated
from server.pipeline.viewer import Identification
from server.settings import Settings
from tests.builders import NOON
from tests.pipeline.conftest import Probe, Token
from tests.serving import refusal

PEM, PUBLIC = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
ACCOUNT = "0191d7a0-0000-7000-8000-0000000000aa"


def encoded(data: bytes | object) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Forge:
    """Makes tokens, with the server's own key unless told otherwise."""

    def __init__(self, keys: TokenKeys) -> None:
        self.kid, self.key = keys.signing()
        now = time.time()
        self.header: dict[str, Any] = {"alg": "EdDSA", "typ": "at+jwt", "kid": self.kid}
        self.claims: dict[str, Any] = {
            "iss": "ani",
            "aud": "ani",
            "sub": ACCOUNT,
            "role": "admin",
            "jti": "a",
            "iat": now - 10,
            "nbf": now - 10,
            "exp": now + 600,
        }

    @property
    def public_pem(self) -> bytes:
        return self.key.public_key().public_bytes(PEM, PUBLIC)

    @property
    def public_raw(self) -> bytes:
        return self.key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    def parts(self, *, header: dict[str, Any] | None = None, **claims: Any) -> str:
        body = {name: value for name, value in (self.claims | claims).items() if value is not ...}
        head = {name: value for name, value in (self.header | (header or {})).items() if value is not ...}
        return f"{encoded(head)}.{encoded(body)}"

    def token(self, *, header: dict[str, Any] | None = None, sign: Callable[[bytes], bytes] | None = None, **claims: Any) -> str:
        return self.signed(self.parts(header=header, **claims), sign)

    def signed(self, parts: str, sign: Callable[[bytes], bytes] | None = None) -> str:
        return f"{parts}.{encoded((sign or self.key.sign)(parts.encode()))}"

    def without(self, claim: str) -> str:
        missing: dict[str, Any] = {claim: ...}
        return self.token(**missing)


def _hmac(key: bytes) -> Callable[[bytes], bytes]:
    return lambda data: hmac.new(key, data, hashlib.sha256).digest()


def _es256(data: bytes) -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).sign(data, ec.ECDSA(hashes.SHA256()))


def _rs256(data: bytes) -> bytes:
    return rsa.generate_private_key(65537, 2048).sign(data, padding.PKCS1v15(), hashes.SHA256())


STRANGER = Ed25519PrivateKey.generate()
JWK = {"kty": "OKP", "crv": "Ed25519", "x": encoded(STRANGER.public_key().public_bytes_raw())}

BEARERS: dict[str, Callable[[Forge], str]] = {
    # What is not a token.
    "nothing": lambda _: "",
    "a space": lambda _: " ",
    "a word": lambda _: "token",
    "dots": lambda _: "..",
    "more dots": lambda _: "." * 4000,
    "not base64": lambda f: f"{f.parts()}.!!!!",
    "header not base64": lambda f: "%%%." + f.token().split(".", 1)[1],
    "header not JSON": lambda f: encoded(b"{") + "." + f.token().split(".", 1)[1],
    "header a list": lambda f: encoded([]) + "." + f.token().split(".", 1)[1],
    "header nested beyond reason": lambda f: encoded(b"[" * 2900) + "." + encoded({}) + "." + encoded(b""),
    "claims not JSON": lambda f: f.token().split(".")[0] + "." + encoded(b"\xff\xfe") + ".x",
    "claims nested beyond reason": lambda f: encoded(f.header) + "." + encoded(b'{"a":' * 500) + ".x",
    "100 kB": lambda f: f.token(padding="x" * 75_000),
    "longer than any of ours": lambda f: f.token(padding="x" * 4096),
    "five parts": lambda f: f"{f.token()}.a.b",
    "no signature": lambda f: f"{f.parts()}.",
    "two parts": lambda f: f.parts(),
    # Signed by nobody, or with what everybody has.
    "alg none": lambda f: f.token(header={"alg": "none"}, sign=lambda _: b""),
    "alg None": lambda f: f.token(header={"alg": "None"}, sign=lambda _: b""),
    "alg missing": lambda f: f.token(header={"alg": ...}),
    "alg a list": lambda f: f.token(header={"alg": ["EdDSA"]}),
    "alg in lower case": lambda f: f.token(header={"alg": "eddsa"}),
    "HS256 with the public key as PEM": lambda f: f.token(header={"alg": "HS256"}, sign=_hmac(f.public_pem)),
    "HS256 with the public key itself": lambda f: f.token(header={"alg": "HS256"}, sign=_hmac(f.public_raw)),
    "HS256 with nothing": lambda f: f.token(header={"alg": "HS256"}, sign=_hmac(b"")),
    "ES256": lambda f: f.token(header={"alg": "ES256"}, sign=_es256),
    "RS256": lambda f: f.token(header={"alg": "RS256"}, sign=_rs256),
    "another key": lambda f: f.token(sign=STRANGER.sign),
    "signature of other claims": lambda f: f.parts(role="user") + "." + f.token().rsplit(".", 1)[1],
    "signature cut short": lambda f: f.token()[:-4],
    "signature of zeros": lambda f: f.token(sign=lambda _: bytes(64)),
    # Keys that the token brings along.
    "jwk": lambda f: f.token(header={"jwk": JWK, "kid": ...}, sign=STRANGER.sign),
    "jwk and a known kid": lambda f: f.token(header={"jwk": JWK}, sign=STRANGER.sign),
    "jku": lambda f: f.token(header={"jku": "http://127.0.0.1:1/keys.json", "kid": "mine"}, sign=STRANGER.sign),
    "x5u": lambda f: f.token(header={"x5u": "http://127.0.0.1:1/key.pem"}, sign=STRANGER.sign),
    "x5c": lambda f: f.token(header={"x5c": [encoded(STRANGER.public_key().public_bytes_raw())]}, sign=STRANGER.sign),
    "jwk of a shared secret": lambda f: f.token(
        header={"alg": "HS256", "jwk": {"kty": "oct", "k": encoded(b"k" * 32)}}, sign=_hmac(b"k" * 32)
    ),
    "kid missing": lambda f: f.token(header={"kid": ...}),
    "kid unknown": lambda f: f.token(header={"kid": "2"}),
    "kid a path": lambda f: f.token(header={"kid": "../../../../dev/null"}, sign=_hmac(b"")),
    "kid of the folder": lambda f: f.token(header={"kid": f"../keys/{f.kid}"}),
    "kid SQL": lambda f: f.token(header={"kid": f"{f.kid}' OR '1'='1"}),
    "kid with NUL": lambda f: f.token(header={"kid": f"{f.kid}\0"}),
    "kid a number": lambda f: f.token(header={"kid": 1}),
    "kid a list": lambda f: f.token(header={"kid": [f.kid]}),
    "kid of another folder's key": lambda f: f.token(header={"kid": "/etc/ssl/private/1"}),
    "kid with the ending of its file": lambda f: f.token(header={"kid": f"{f.kid}.pem"}),
    "compressed": lambda f: f.token(header={"zip": "DEF"}, sign=STRANGER.sign),
    "in JSON": lambda f: json.dumps({"payload": f.parts().split(".")[1], "signatures": [{"protected": f.parts().split(".")[0]}]}),
    "critical extension": lambda f: f.token(header={"crit": ["exp"]}),
    "unencoded claims": lambda f: f.token(header={"b64": False, "crit": ["b64"]}),
    # For somebody or something else.
    "other issuer": lambda f: f.token(iss="ani.example"),
    "issuer a list": lambda f: f.token(iss=["ani"]),
    "other audience": lambda f: f.token(aud="ani-admin"),
    "no audience": lambda f: f.token(aud=...),
    "audiences without ours": lambda f: f.token(aud=["x", "y"]),
    "type missing": lambda f: f.token(header={"typ": ...}),
    "type of an ID token": lambda f: f.token(header={"typ": "JWT"}),
    "type of a refresh token": lambda f: f.token(header={"typ": "rt+jwt"}),
    # At another time.
    "expired": lambda f: f.token(exp=time.time() - 1),
    "not yet": lambda f: f.token(nbf=time.time() + 60),
    "issued in the future": lambda f: f.token(iat=time.time() + 60),
    "exp a text": lambda f: f.token(exp="tomorrow"),
    "exp of no number": lambda f: f.token(exp=float("nan")),
    "exp without end": lambda f: f.token(exp=float("inf")),
    "exp beyond all numbers": lambda f: f.token(exp=10**400),
    "exp true": lambda f: f.token(exp=True),
    "exp a list": lambda f: f.token(exp=[1e12]),
    "nbf null": lambda f: f.token(nbf=None),
    # Signed by us and not what we issue.
    **{f"{claim} missing": partial(Forge.without, claim=claim) for claim in ("exp", "nbf", "iat", "iss", "sub", "jti", "role")},
    "subject empty": lambda f: f.token(sub=""),
    "subject a number": lambda f: f.token(sub=5),
    "role unknown": lambda f: f.token(role="god"),
    "role of a guest": lambda f: f.token(role="guest"),
    "role a number": lambda f: f.token(role=4),
    "permissions a text": lambda f: f.token(permissions="probes.use"),
    "permissions of objects": lambda f: f.token(permissions=[{}]),
    "permissions a number": lambda f: f.token(permissions=1),
    "granted a text": lambda f: f.token(granted="0191d7a0-0000-7000-8000-0000000000ee"),
    "granted of numbers": lambda f: f.token(granted=[1]),
    "granted null": lambda f: f.token(granted=None),
    "asleep a number": lambda f: f.token(asleep=0),
    "limited a text": lambda f: f.token(limited="false"),
    "asleep null": lambda f: f.token(asleep=None),
    "maturity a text": lambda f: f.token(maturity="all"),
    "maturity null": lambda f: f.token(maturity=None),
    "maturity true": lambda f: f.token(maturity=True),
    "maturity without end": lambda f: f.token(maturity=float("inf")),
    "claims a list": lambda f: f.signed(f"{encoded(f.header)}.{encoded([])}"),
}
SCHEMES: dict[str, Callable[[Forge], str]] = {
    "lower case": lambda f: f"bearer {f.token()}",
    "upper case": lambda f: f"BEARER {f.token()}",
    "no scheme": lambda f: f.token(),
    "no token": lambda _: "Bearer",
    "another scheme": lambda _: "Basic YTpi",
    "two spaces": lambda f: f"Bearer  {f.token()}",
    "two tokens": lambda f: f"Bearer {f.token()} {f.token()}",
    "a comma": lambda f: f"Bearer {f.token()}, Bearer {f.token()}",
}


def issued(keys: TokenKeys, *, at: datetime | None = None) -> str:
    """Return a token good for a quarter of an hour."""
    issuer = TokenIssuer(keys, issuer="ani", audience="ani")
    return issuer.issue(ACCOUNT, Role.USER, at=at or datetime.now(UTC), lifetime=timedelta(minutes=15))


def write_key(path: Path) -> None:
    private = Ed25519PrivateKey.generate()
    path.write_bytes(private.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


@pytest.fixture
def keys(tmp_path: Path) -> TokenKeys:
    return TokenKeys.open(tmp_path / "keys")


@pytest.fixture
def verifier(keys: TokenKeys) -> TokenVerifier:
    return TokenVerifier(keys, issuer="ani", audience="ani")


class TestVerify:
    def test_reads_what_was_issued(self, keys: TokenKeys, verifier: TokenVerifier) -> None:
        now = datetime.now(UTC)
        token = TokenIssuer(keys, issuer="ani", audience="ani").issue(
            ACCOUNT, Role.EDITOR, at=now, lifetime=timedelta(minutes=5), permissions=["a.b", "c"], maturity=12
        )

        identity = verifier.verify(token)

        viewer = identity.viewer
        assert (ACCOUNT, Role.EDITOR, frozenset({"a.b", "c"}), 12) == (
            viewer.account_id,
            viewer.role,
            viewer.permissions,
            viewer.maturity,
        )
        assert int(now.timestamp()) + 300 == identity.expires

    def test_accepts_the_forge_when_it_forges_nothing(self, keys: TokenKeys, verifier: TokenVerifier) -> None:
        """The other tests of a forged token would prove little if this one failed."""
        assert ACCOUNT == verifier.verify(Forge(keys).token()).viewer.account_id

    @pytest.mark.parametrize("bearer", BEARERS.values(), ids=BEARERS.keys())
    def test_refuses(self, keys: TokenKeys, verifier: TokenVerifier, bearer: Callable[[Forge], str]) -> None:
        """A10, A11: every fault of a token is the caller's, and is told as such."""
        with pytest.raises(Unauthenticated):
            verifier.verify(bearer(Forge(keys)))

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
    @given(st.data())
    def test_refuses_a_token_with_anything_changed(self, keys: TokenKeys, verifier: TokenVerifier, data: st.DataObject) -> None:
        good = Forge(keys).token(iat=1e9, nbf=1e9, exp=1e11)
        at = data.draw(st.integers(0, len(good) - 2))  # the last character holds bits that nothing is read from
        other = data.draw(st.sampled_from("abcXYZ019-_.=/ \x00é").filter(lambda character: character != good[at]))

        with pytest.raises(Unauthenticated):
            verifier.verify(good[:at] + other + good[at + 1 :])

    def test_keeps_old_keys_good_while_a_new_one_signs(self, tmp_path: Path) -> None:
        """A17: an old token is good until it expires, on machines that hold public keys alone too, if its key is still there."""
        old = issued(TokenKeys.open(tmp_path))
        write_key(tmp_path / "2.pem")
        both = TokenKeys.open(tmp_path)
        new = issued(both)
        for kid in both.kids:
            private = serialization.load_pem_private_key((tmp_path / f"{kid}.pem").read_bytes(), password=None)
            (tmp_path / f"{kid}.pub.pem").write_bytes(private.public_key().public_bytes(PEM, PUBLIC))
            (tmp_path / f"{kid}.pem").unlink()

        elsewhere = TokenVerifier(TokenKeys.open(tmp_path), issuer="ani", audience="ani")
        (tmp_path / "1.pub.pem").unlink()
        later = TokenVerifier(TokenKeys.open(tmp_path), issuer="ani", audience="ani")

        assert "2" == both.signing()[0]
        assert ACCOUNT == elsewhere.verify(old).viewer.account_id == elsewhere.verify(new).viewer.account_id
        assert ACCOUNT == later.verify(new).viewer.account_id
        with pytest.raises(TokenInvalid):
            later.verify(old)

    def test_signs_with_the_tenth_key_after_the_ninth(self, tmp_path: Path) -> None:
        for kid in ("1", "9", "10"):
            write_key(tmp_path / f"{kid}.pem")

        assert "10" == TokenKeys.open(tmp_path).signing()[0]


class TestRemembering:
    def test_ends_with_the_token(self, keys: TokenKeys) -> None:
        clock = Clock()
        identification = Identification(TokenVerifier(keys, issuer="ani", audience="ani", clock=clock), clock=clock)
        metadata = {"authorization": f"Bearer {issued(keys, at=NOON)}"}

        first = identification.identify(metadata, lambda: "unix:")
        clock.now += 15 * 60 - 1
        last = identification.identify(metadata, lambda: "unix:")
        clock.now += 1

        assert first is last
        with pytest.raises(TokenExpired):
            identification.identify(metadata, lambda: "unix:")

    def test_is_never_of_what_was_refused(self, keys: TokenKeys, verifier: TokenVerifier) -> None:
        identification = Identification(verifier)
        metadata = {"authorization": f"Bearer {Forge(keys).token(aud='x')}"}

        for _ in range(2):
            with pytest.raises(TokenInvalid):
                identification.identify(metadata, lambda: "unix:")

    def test_is_of_the_whole_token(self, keys: TokenKeys, verifier: TokenVerifier) -> None:
        """A token that shares all but its signature with a remembered one is looked at by itself."""
        identification = Identification(verifier)
        good = Forge(keys).token()
        identification.identify({"authorization": f"Bearer {good}"}, lambda: "unix:")

        with pytest.raises(TokenInvalid):
            identification.identify({"authorization": f"Bearer {good[:-8]}AAAAAAAA"}, lambda: "unix:")


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = NOON.timestamp()

    def __call__(self) -> float:
        return self.now


class TestOverTheWire:
    async def test_every_bad_token_is_unauthenticated_and_none_a_fault(self, probe: Probe, settings: Settings) -> None:
        """A10: also on a method for everyone, for whoever sends a token wants to be somebody."""
        forge = Forge(TokenKeys.open(settings.key_folder))
        headers = {name: f"Bearer {make(forge)}" for name, make in BEARERS.items()} | {
            name: make(forge) for name, make in SCHEMES.items()
        }
        # More than a server takes as metadata is refused by gRPC itself.
        fitting = {name: header for name, header in headers.items() if len(header) < 8000}
        refused = {name: await refusal(probe("Read", metadata=(("authorization", text),))) for name, text in fitting.items()}

        assert dict.fromkeys(fitting, grpc.StatusCode.UNAUTHENTICATED) == {name: one.code for name, one in refused.items()}
        assert {"TOKEN_INVALID", "TOKEN_EXPIRED", "CREDENTIALS_MALFORMED"} == {one.reason for one in refused.values()}
        assert [] == probe.asked

    async def test_a_token_beyond_all_bounds_is_refused_by_its_size(self, probe: Probe) -> None:
        huge = (("authorization", "Bearer " + "x" * 100_000),)

        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await probe("Read", metadata=huge)
        assert grpc.StatusCode.RESOURCE_EXHAUSTED is refused.value.code()
        assert "a" == (await probe("Read", id="a")).text

    async def test_a_token_of_ours_is_good(self, probe: Probe, token: Token) -> None:
        await probe("ForMembers", metadata=token())

        assert ACCOUNT == probe.asked[0][2].viewer.account_id
