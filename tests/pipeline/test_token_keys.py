"""A17: keys of access tokens are turned over while servers run, and nobody is signed out by it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from adapters.token_keys import DELAY, LOOK_FOR_UNKNOWN_SECONDS, KeysRefused, TokenKeys, _order, note_expiry, prune, rotate
from adapters.tokens import TokenInvalid, TokenIssuer, TokenVerifier
from ani.accounts.v1 import token_key_service_pb2 as pb
from ani.accounts.v1 import token_key_service_pb2_grpc
from domain.kernel import Role
from server.commands import doctor
from server.commands import keys as keys_command
from server.pipeline.viewer import Identification
from server.settings import Settings
from tests.builders import NOON
from tests.serving import Served
from tests.waiting import until

ACCOUNT = "0191d7a0-0000-7000-8000-0000000000aa"
MINUTE = timedelta(minutes=1)


class Clock:
    def __init__(self, at: datetime = NOON) -> None:
        self.now = at

    def __call__(self) -> float:
        return self.now.timestamp()


class Server:
    """What a server process does with keys: it issues, verifies, and looks at the folder by itself."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.clock = clock
        self.keys = TokenKeys.open(folder, clock=clock)
        self.issuer = TokenIssuer(self.keys, issuer="ani", audience="ani")
        self.verifier = TokenVerifier(self.keys, issuer="ani", audience="ani", clock=clock)

    def issue(self, *, lifetime: timedelta = 15 * MINUTE) -> str:
        return self.issuer.issue(ACCOUNT, Role.USER, at=self.clock.now, lifetime=lifetime)

    def knows(self, token: str) -> bool:
        try:
            return self.verifier.verify(token).viewer.account_id == ACCOUNT
        except TokenInvalid:
            return False


def kid_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


def write_key(path: Path) -> None:
    private = Ed25519PrivateKey.generate()
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.write_bytes(private.private_bytes(*form, serialization.NoEncryption()))


def write_key_at(folder: Path, kid: str, at: datetime) -> None:
    """Put a key into a folder as if it had been put there at some time."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{kid}.pem"
    write_key(path)
    path.chmod(0o600)
    os.utime(path, (at.timestamp(), at.timestamp()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "keys"


class TestRotate:
    def test_signs_with_a_new_key_when_every_server_knows_it(self, folder: Path) -> None:
        """A17: two keys live side by side; no token is refused at any time, on any server."""
        clock = Clock()
        one, other = Server(folder, clock), Server(folder, clock)
        before = one.issue()
        kid = rotate(folder, at=clock.now)

        one.keys.look()
        announced = one.issue()
        clock.now += DELAY
        after = one.issue()

        assert ("1", "1", kid) == (kid_of(before), kid_of(announced), kid_of(after))
        assert kid == "20260406T121000Z"
        assert all(server.knows(token) for server in (one, other) for token in (before, announced, after))

    def test_is_noticed_by_a_server_that_has_not_looked(self, folder: Path) -> None:
        """A17: what nobody knows is looked up in the folder alone, and not more often than every few seconds."""
        clock = Clock()
        one, other = Server(folder, clock), Server(folder, clock)
        clock.now += timedelta(seconds=LOOK_FOR_UNKNOWN_SECONDS)
        other.knows(Server(folder.with_name("others"), clock).issue())
        rotate(folder, at=clock.now, delay=timedelta(0))
        one.keys.look()
        token = one.issue()

        at_once = other.knows(token)
        clock.now += timedelta(seconds=LOOK_FOR_UNKNOWN_SECONDS)
        soon = other.knows(token)

        # The token of another folder has a key of the same name: only a kid that is not known makes a server look.
        assert (True, True) == (at_once, soon)

    def test_is_looked_for_every_few_seconds_at_most(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = Clock()
        server = Server(folder, clock)
        looks = 0
        read = TokenKeys._read

        def counted(keys: TokenKeys) -> None:
            nonlocal looks
            looks += 1
            read(keys)

        monkeypatch.setattr(TokenKeys, "_read", counted)
        clock.now += timedelta(seconds=10)

        for number in range(1000):
            assert server.keys.public(f"unknown-{number}") is None
            clock.now += timedelta(milliseconds=5)

        assert 2 == looks

    def test_makes_one_new_key_at_a_time(self, folder: Path) -> None:
        Server(folder, Clock())
        rotate(folder, at=NOON)

        with pytest.raises(KeysRefused, match="new already"):
            rotate(folder, at=NOON + MINUTE)
        again = rotate(folder, at=NOON + DELAY + MINUTE)

        assert ["1", "20260406T121000Z", again] == TokenKeys(folder).kids

    def test_refuses_a_key_that_would_never_sign(self, folder: Path) -> None:
        Server(folder, Clock())
        write_key(folder / "a-name-that-is-longer-than-a-time.pem")

        with pytest.raises(KeysRefused, match="rename it"):
            rotate(folder, at=NOON)

    def test_makes_a_first_key_that_signs_at_once(self, folder: Path) -> None:
        kid = rotate(folder, at=NOON)

        assert kid == TokenKeys(folder, clock=NOON.timestamp).signing()[0] == "20260406T120000Z"
        assert 0o600 == stat.S_IMODE((folder / f"{kid}.pem").stat().st_mode)

    @given(st.lists(st.integers(0, 400 * 24 * 60), min_size=2, max_size=6, unique=True))
    def test_sorts_keys_by_the_times_at_which_they_begin(self, minutes: list[int]) -> None:
        kids = [f"{NOON + number * MINUTE:%Y%m%dT%H%M%SZ}" for number in sorted(minutes)]

        assert ["1", "2026-11", *kids] == sorted([*kids, "2026-11", "1"], key=_order)


class TestPrune:
    def test_keeps_an_old_key_until_the_last_of_its_tokens_has_expired(self, folder: Path) -> None:
        """A17: old tokens are good until they expire, and the key that signed them can soon sign no more."""
        clock = Clock()
        server = Server(folder, clock)
        kid = rotate(folder, at=clock.now)
        clock.now += DELAY - MINUTE
        old = server.issue(lifetime=timedelta(hours=12))

        early = prune(folder, at=clock.now)
        clock.now += MINUTE + DELAY
        halved = prune(folder, at=clock.now)
        server.keys.look()
        still = server.knows(old)
        files = sorted(path.name for path in folder.iterdir())
        clock.now = NOON + DELAY + timedelta(hours=12)
        removed = prune(folder, at=clock.now)

        assert ([], True) == (early, still)
        assert halved[0].startswith("1: the private key was removed")
        assert ["1.pub.pem", f"{kid}.pem"] == files
        assert removed[0].startswith("1: removed")
        assert [f"{kid}.pem"] == [path.name for path in folder.iterdir()]
        assert kid == server.keys.signing()[0]

    def test_keeps_a_key_longer_for_a_token_that_is_good_for_longer(self, folder: Path) -> None:
        clock = Clock()
        Server(folder, clock)
        note_expiry(folder, "1", NOON + timedelta(days=30))
        note_expiry(folder, "1", NOON + timedelta(days=3))
        rotate(folder, at=clock.now)

        before = prune(folder, at=NOON + timedelta(days=30, minutes=-1))
        after = prune(folder, at=NOON + timedelta(days=30))

        assert "its tokens are good until 2026-05-06 12:00 UTC" in before[0]
        assert "removed" in after[0]
        assert 1 == len(list(folder.iterdir()))

    def test_never_removes_what_signs_or_what_it_cannot_judge(self, folder: Path) -> None:
        Server(folder, Clock())
        write_key(folder / "2.pem")

        assert [] == prune(folder, at=NOON + timedelta(days=4000))
        assert ["1", "2"] == TokenKeys(folder).kids


class TestLook:
    def test_makes_void_what_a_removed_key_signed(self, folder: Path) -> None:
        """A key that leaked is removed: callers who were let in by it before are let in no more."""
        clock = Clock()
        server = Server(folder, clock)
        identification = Identification(server.verifier, clock=clock)
        metadata = {"authorization": f"Bearer {server.issue()}"}
        identification.identify(metadata, lambda: "unix:")
        rotate(folder, at=clock.now, delay=timedelta(0))
        (folder / "1.pem").unlink()

        async def watched() -> None:
            watch = asyncio.create_task(server.keys.watch(identification.forget, seconds=0.01))
            await until(lambda: _is(server.keys.public("1") is None))
            watch.cancel()

        asyncio.run(watched())
        with pytest.raises(TokenInvalid):
            identification.identify(metadata, lambda: "unix:")

    @pytest.mark.parametrize("damage", [b"", b"-----BEGIN PRIVATE KEY-----\nMC4", b"\xff\xfe", b"words"])
    def test_keeps_what_it_knows_when_a_key_cannot_be_read(self, folder: Path, damage: bytes) -> None:
        server = Server(folder, Clock())
        token = server.issue()
        (folder / "2.pem").write_bytes(damage)

        assert server.keys.look() is False
        assert server.knows(token)
        assert "1" == server.keys.signing()[0]

    def test_takes_no_other_kind_of_key_and_no_halves_of_two(self, folder: Path) -> None:
        server = Server(folder, Clock())
        stranger = Ed25519PrivateKey.generate().public_key()
        form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        (folder / "1.pub.pem").write_bytes(stranger.public_bytes(*form))

        server.keys.look()

        assert server.knows(server.issue())
        with pytest.raises(ValueError, match="do not belong together"):
            TokenKeys(folder)

    def test_is_of_private_keys_that_only_sign_elsewhere(self, folder: Path) -> None:
        server = Server(folder, Clock())
        (folder / "1.pem").unlink()
        server.keys.look()

        with pytest.raises(LookupError):
            server.issue()


class TestGetTokenKeySet:
    async def test_lets_others_verify_what_was_issued_here(self, served: Served, settings: Settings) -> None:
        """A17: a new key is public before it signs, so that whoever has fetched the set takes its tokens."""
        now = datetime.now(UTC)
        kid = rotate(settings.key_folder, at=now)
        served_keys = TokenKeys(settings.key_folder)
        token = TokenIssuer(served_keys, issuer="ani", audience="ani").issue(ACCOUNT, Role.USER, at=now, lifetime=15 * MINUTE)

        async def both() -> list[dict[str, str]] | None:
            answer = await stub.GetTokenKeySet(pb.GetTokenKeySetRequest())
            assert "application/jwk-set+json" == answer.key_set.content_type
            found: list[dict[str, str]] = json.loads(answer.key_set.data)["keys"]
            return found if len(found) == 2 else None

        stub = token_key_service_pb2_grpc.TokenKeyServiceStub(served.channel)
        keys = TokenKeys(settings.key_folder).jwks()["keys"]

        assert [kid, "1"] == [key["kid"] for key in keys]
        assert {("OKP", "Ed25519", "sig", "EdDSA")} == {(key["kty"], key["crv"], key["use"], key["alg"]) for key in keys}
        assert all(32 == len(base64.urlsafe_b64decode(key["x"] + "=")) and "d" not in key for key in keys)
        known = jwt.PyJWKSet.from_dict({"keys": keys})[kid_of(token)]
        assert ACCOUNT == jwt.decode(token, known, algorithms=["EdDSA"], audience="ani", issuer="ani")["sub"]
        answer = await stub.GetTokenKeySet(pb.GetTokenKeySetRequest())
        assert "1" in [key["kid"] for key in json.loads(answer.key_set.data)["keys"]]


class TestCommand:
    def test_shows_turns_over_and_removes(self, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
        first = keys_command.run(settings, "list", delay=None)
        Server(settings.key_folder, Clock())
        rotated = keys_command.run(settings, "rotate", delay=30)
        again = keys_command.run(settings, "rotate", delay=None)
        shown = keys_command.run(settings, "list", delay=None)
        pruned = keys_command.run(settings, "prune", delay=None)

        printed = capsys.readouterr()
        assert [0, 0, 1, 0, 0] == [first, rotated, again, shown, pruned]
        assert "holds no key" in printed.out
        assert "1                 private  signs, until" in printed.out
        assert "private  signs from" in printed.out
        assert "every key is still needed" in printed.out
        assert "is new already" in printed.err


async def _is(condition: bool) -> bool:
    return condition


class TestDoctor:
    def look(self, folder: Path, *, at: datetime) -> list[tuple[bool | None, str]]:
        return [(found.fine, f"{found.text} | {found.mend}") for found in doctor.look_at_keys(folder, at=at)]

    def test_tells_which_key_signs_and_which_is_next(self, folder: Path) -> None:
        write_key_at(folder, "1", NOON)
        alone = self.look(folder, at=NOON)
        rotate(folder, at=NOON)

        both = self.look(folder, at=NOON)

        assert alone == [(True, f"1 signs in {folder}, and is the only one | ")]
        assert both == [
            (True, f"1 signs in {folder} | "),
            (True, "20260406T121000Z is next, from 2026-04-06 12:10 UTC on | "),
        ]

    def test_tells_of_a_key_that_was_in_use_for_long(self, folder: Path) -> None:
        write_key_at(folder, "1", NOON)
        by_file = self.look(folder, at=NOON + timedelta(days=100))
        rotate(folder, at=NOON, delay=timedelta(0))
        by_name = self.look(folder, at=NOON + timedelta(days=91))

        assert by_file[1] == (None, "1 has been in use for 100 days | `ani keys rotate` puts another in its place")
        assert by_name[1][1].startswith("20260406T120000Z has been in use for 91 days")

    def test_asks_for_no_other_key_when_one_is_coming(self, folder: Path) -> None:
        write_key_at(folder, "1", NOON - timedelta(days=100))
        rotate(folder, at=NOON)

        assert all(fine for fine, _ in self.look(folder, at=NOON))

    def test_tells_what_may_be_removed(self, folder: Path) -> None:
        write_key_at(folder, "1", NOON)
        kid = rotate(folder, at=NOON)
        due = NOON + 2 * DELAY

        early, halves = self.look(folder, at=due - MINUTE), self.look(folder, at=due)
        prune(folder, at=due)
        pruned, expired = self.look(folder, at=due), self.look(folder, at=due + timedelta(hours=12))

        assert early == pruned == [(True, f"{kid} signs in {folder} | ")]
        assert halves[1:] == expired[1:] == [(None, "needed no more: 1 | `ani keys prune` removes what is over")]

    def test_finds_wrong_what_stops_servers_or_shows_secrets(self, folder: Path) -> None:
        absent = self.look(folder, at=NOON)
        write_key_at(folder, "1", NOON)
        (folder / "1.key").write_bytes(bytes(32))
        (folder / "1.key").chmod(0o640)
        shown = self.look(folder, at=NOON)
        (folder / "1.key").chmod(0o600)
        (folder / "2.pem").write_bytes(b"words")
        (folder / "2.pem").chmod(0o600)
        damaged = self.look(folder, at=NOON)

        assert absent == [(None, f"{folder} has no key; the first start makes one | ")]
        assert shown[0][0] is False
        assert shown[0][1].startswith(f"others may read {folder}/1.key | chmod 600 ")
        assert damaged[0][0] is False
        assert damaged[0][1].startswith(f"{folder} cannot be used: ")

    def test_finds_wrong_that_nothing_can_sign(self, folder: Path) -> None:
        kid = rotate(folder, at=NOON)
        rotate(folder, at=NOON + MINUTE)
        prune(folder, at=NOON + timedelta(hours=1))
        for path in folder.iterdir():
            if not path.name.startswith(f"{kid}.pub"):
                path.unlink()

        assert self.look(folder, at=NOON)[0] == (
            False,
            f"{folder} has no private key: nobody can be signed in | put it there, or run `ani keys rotate`",
        )
