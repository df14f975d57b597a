"""People who open accounts, read their letters and sign in, as clients do."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import asyncpg
import grpc

from adapters.envelopes import SealedEnvelopes
from ani.accounts.v1 import accounts_service_pb2 as pb
from ani.accounts.v1 import own_account_service_pb2 as own_pb
from ani.accounts.v1 import sign_in_pb2
from domain.mail import Letter
from server.settings import Settings
from tests.serving import Metadata, Served, taken_apart
from tests.waiting import until

PASSWORD = "seven geese over the lake"
Kind = sign_in_pb2.ChallengeKind


async def signed_out(served: Served, tokens: sign_in_pb2.Tokens) -> bool:
    """Wait until an access token is void, as it is everywhere within a second."""

    async def void() -> bool:
        try:
            await served.own_account.GetAccount(own_pb.GetAccountRequest(), metadata=bearer(tokens))
        except grpc.aio.AioRpcError as refused:
            return taken_apart(refused).reason == "SESSION_REVOKED"
        return False

    return await until(void, seconds=2)


def bearer(tokens: sign_in_pb2.Tokens) -> Metadata:
    return (("authorization", f"Bearer {tokens.access_token}"),)


@dataclass(frozen=True, slots=True)
class PostOffice:
    """All letters that were ordered."""

    settings: Settings

    async def letters(self, address: str = "") -> list[Letter]:
        """Return the letters to an address, or all, in the order in which they were ordered."""
        connection = await asyncpg.connect(self.settings.database_url)
        rows = await connection.fetch("SELECT payload FROM platform.events WHERE name = 'LetterOrdered' ORDER BY number")
        await connection.close()
        envelopes = SealedEnvelopes(self.settings.key_folder)
        letters = [envelopes.open(json.loads(row["payload"])["sealed"]) for row in rows]
        return [letter for letter in letters if not address or letter.address == address]

    async def last(self, address: str) -> Letter:
        return (await self.letters(address))[-1]

    async def code(self, address: str) -> str:
        return (await self.last(address)).facts["code"]


@dataclass(frozen=True, slots=True)
class People:
    """Does what people do."""

    served: Served
    post: PostOffice

    async def answer(self, step: sign_in_pb2.SignInStep, kind: Kind.ValueType, answer: str) -> sign_in_pb2.SignInStep:
        request = pb.ContinueSignInRequest(sign_in=step.sign_in, kind=kind, answer=answer)
        return (await self.served.accounts.ContinueSignIn(request)).step

    async def choose(self, step: sign_in_pb2.SignInStep, kind: Kind.ValueType) -> sign_in_pb2.SignInStep:
        return (await self.served.accounts.ChooseChallenge(pb.ChooseChallengeRequest(sign_in=step.sign_in, kind=kind))).step

    async def register(
        self, name: str = "Mio", /, *, email: str = "", password: str = PASSWORD, **device: Any
    ) -> sign_in_pb2.Tokens:
        """Open an account, and return what signs in to it."""
        address = email or f"{name.lower()}@example.org"
        request = pb.RegisterRequest(email=address, password=password, name=name, device=sign_in_pb2.Device(**device))
        step = (await self.served.accounts.Register(request)).step
        done = await self.answer(step, Kind.CHALLENGE_KIND_EMAIL_CODE, await self.post.code(address))
        return done.tokens

    async def begin(self, email: str, **device: Any) -> sign_in_pb2.SignInStep:
        request = pb.BeginSignInRequest(email=email, device=sign_in_pb2.Device(**device))
        return (await self.served.accounts.BeginSignIn(request)).step

    async def sign_in(self, email: str, password: str = PASSWORD, **device: Any) -> sign_in_pb2.SignInStep:
        return await self.answer(await self.begin(email, **device), Kind.CHALLENGE_KIND_PASSWORD, password)
