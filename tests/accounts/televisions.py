"""Televisions that want to be let in, as their clients are written, and what is done to them behind their backs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import asyncpg
import grpc

from ani.accounts.v1 import device_login_pb2, sign_in_pb2
from ani.accounts.v1 import device_login_service_pb2 as pb
from server.settings import Settings
from tests.serving import Metadata, Refused, Served, refusal, taken_apart


@dataclass(frozen=True, slots=True)
class Television:
    """A television that shows its codes."""

    served: Served
    shows: pb.StartDeviceLoginResponse

    @classmethod
    async def on(cls, served: Served, *, name: str = "Living room TV", metadata: Metadata = (), **device: Any) -> Television:
        """Switch one on that nobody is signed in on."""
        request = pb.StartDeviceLoginRequest(device=sign_in_pb2.Device(name=name, **device))
        return cls(served, await served.device_logins.StartDeviceLogin(request, metadata=metadata))

    async def poll(self) -> sign_in_pb2.Tokens:
        request = pb.PollDeviceLoginRequest(device_code=self.shows.device_code)
        return (await self.served.device_logins.PollDeviceLogin(request)).tokens

    async def refused(self) -> Refused:
        return await refusal(self.poll())

    async def reason(self) -> str:
        return (await self.refused()).reason

    def watch(self) -> Any:
        return self.served.device_logins.WatchDeviceLogin(pb.WatchDeviceLoginRequest(device_code=self.shows.device_code))

    def elsewhere(self, served: Served) -> Television:
        """Reach the platform by another server."""
        return Television(served, self.shows)


@dataclass(frozen=True, slots=True)
class Phone:
    """Somebody who is signed in, in front of a television."""

    served: Served
    metadata: Metadata

    async def look(self, code: str) -> device_login_pb2.DeviceLogin:
        request = pb.GetDeviceLoginRequest(user_code=code)
        return (await self.served.device_logins.GetDeviceLogin(request, metadata=self.metadata)).device_login

    async def approve(self, tv: Television, *, code: str = "", number: str = "", profile_id: str = "") -> None:
        request = pb.ApproveDeviceLoginRequest(
            user_code=code or tv.shows.user_code, number=number or tv.shows.number, profile_id=profile_id
        )
        await self.served.device_logins.ApproveDeviceLogin(request, metadata=self.metadata)

    async def deny(self, code: str) -> None:
        await self.served.device_logins.DenyDeviceLogin(pb.DenyDeviceLoginRequest(user_code=code), metadata=self.metadata)


def other_than(number: str) -> str:
    return f"{(int(number) + 1) % 100:02}"


async def ended(stream: Any) -> tuple[list[pb.WatchDeviceLoginResponse], Refused | None]:
    """Read a stream to its end; return what it said, and the refusal that it ended with."""
    said = []
    try:
        while (message := await stream.read()) is not grpc.aio.EOF:
            said.append(message)
    except grpc.aio.AioRpcError as fault:
        return said, taken_apart(fault)
    return said, None


async def changed(settings: Settings, statement: str, *values: Any) -> None:
    """Change what the database holds, for time to pass or things to happen elsewhere."""
    connection = await asyncpg.connect(settings.database_url)
    await connection.execute(statement, *values)
    await connection.close()


async def found(settings: Settings, query: str, *values: Any) -> list[Any]:
    """Return the first column of what the database holds."""
    connection = await asyncpg.connect(settings.database_url)
    rows = await connection.fetch(query, *values)
    await connection.close()
    return [row[0] for row in rows]
