"""`ani accounts create-admin`: the first administrator, by whoever runs the platform."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import grpc
import pytest

from ani.accounts.v1 import own_account_service_pb2 as own_pb
from ani.accounts.v1 import sign_in_pb2
from server.settings import Settings
from tests.accounts.people import People, bearer
from tests.serving import Served, taken_apart
from tests.waiting import until

ROOT = Path(__file__).parents[2]
ADDRESS, PASSWORD = "boss@example.org", "nine cranes over the marsh"


def create_admin(settings: Settings, *arguments: str, password: str = PASSWORD) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}",
        "ANI_DATA": str(settings.data),
        "DATABASE_URL": settings.database_url,
    }
    command = [sys.executable, "-m", "server", "accounts", "create-admin", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, input=f"{password}\n", capture_output=True, text=True, check=False)


async def is_void(served: Served, tokens: sign_in_pb2.Tokens) -> bool:
    try:
        await served.own_account.GetAccount(own_pb.GetAccountRequest(), metadata=bearer(tokens))
    except grpc.aio.AioRpcError as fault:
        return taken_apart(fault).reason == "SESSION_REVOKED"
    return False


class TestCreateAdmin:
    async def test_makes_an_account_that_may_do_everything(self, settings: Settings, people: People, served: Served) -> None:
        done = create_admin(settings, ADDRESS, "--name", "Boss")
        step = await people.sign_in(ADDRESS, PASSWORD)
        account = (await served.own_account.GetAccount(own_pb.GetAccountRequest(), metadata=bearer(step.tokens))).account

        assert (0, "") == (done.returncode, done.stderr)
        assert ("Boss", 4) == (account.name, account.role)

    async def test_lifts_an_account_that_is_there(self, settings: Settings, people: People, served: Served) -> None:
        tokens = await people.register("Mio")

        done = create_admin(settings, "mio@example.org")
        await until(partial(is_void, served, tokens), seconds=2)
        step = await people.sign_in("mio@example.org")
        account = (await served.own_account.GetAccount(own_pb.GetAccountRequest(), metadata=bearer(step.tokens))).account

        assert 0 == done.returncode
        assert 4 == account.role

    @pytest.mark.parametrize("password", ["", "admin", "password1234"])
    def test_takes_no_password_that_is_tried_first(self, settings: Settings, password: str) -> None:
        done = create_admin(settings, ADDRESS, password=password)

        assert 1 == done.returncode
        assert done.stderr.startswith("ani: ")
        assert "Traceback" not in done.stderr
