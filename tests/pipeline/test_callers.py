"""Who a call comes from: the address that a trusted proxy saw, the country that the gateway names, and nobody's mere word."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import grpc
import pytest

from adapters.token_keys import TokenKeys
from adapters.tokens import TokenVerifier
from ani.system.v1 import system_service_pb2 as pb
from server.pipeline.viewer import Identification, network
from tests.pipeline.conftest import Probe
from tests.serving import Served, refusal


@pytest.fixture
def verifier(tmp_path: Path) -> TokenVerifier:
    return TokenVerifier(TokenKeys.open(tmp_path), issuer="ani", audience="ani")


class TestAddress:
    @pytest.mark.parametrize(
        ("hops", "forwarded", "address"),
        [
            (0, "192.0.2.1", "192.0.2.1"),
            (0, "198.51.100.9, 192.0.2.1", "192.0.2.1"),
            (0, "spoofed, 127.0.0.1 ,192.0.2.1 ", "192.0.2.1"),
            (1, "203.0.113.7, 192.0.2.1", "203.0.113.7"),
            (1, "198.51.100.9, 203.0.113.7, 192.0.2.1", "203.0.113.7"),
            (2, "198.51.100.9, 203.0.113.7, 192.0.2.1", "198.51.100.9"),
            (2, "192.0.2.1", "192.0.2.1"),
            (0, "2001:db8::1", "2001:db8::1"),
            (0, "", "192.0.2.99"),
        ],
    )
    def test_is_the_one_that_the_outermost_trusted_proxy_saw(
        self, verifier: TokenVerifier, hops: int, forwarded: str, address: str
    ) -> None:
        """B5: what stands before it anyone may have written."""
        identification = Identification(verifier, trusted_hops=hops)

        caller = identification.identify({"x-forwarded-for": forwarded}, lambda: "ipv4:192.0.2.99:4711")

        assert address == caller.address

    @pytest.mark.parametrize(
        ("peer", "address"),
        [
            ("ipv4:192.0.2.1:4711", "192.0.2.1"),
            ("ipv6:%5B2001:db8::1%5D:4711", "2001:db8::1"),
            ("ipv6:[2001:db8::1]:4711", "2001:db8::1"),
            ("unix:", "unix"),
            ("unix:/tmp/socket", "unix"),
        ],
    )
    def test_is_the_peers_without_a_proxy(self, verifier: TokenVerifier, peer: str, address: str) -> None:
        assert address == Identification(verifier).identify({}, lambda: peer).address.strip("[]")

    @pytest.mark.parametrize(
        ("address", "counted"),
        [
            ("192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("::1", "::/64"),
            ("unix", "unix"),
            ("", ""),
        ],
    )
    def test_counts_as_the_network_that_one_customer_holds(self, address: str, counted: str) -> None:
        assert counted == network(address)

    @pytest.mark.settings(quota_per_minute=2)
    async def test_is_what_guests_are_counted_by(self, probe: Probe) -> None:
        """F5: whoever holds a /64 is one caller, and an invented address before the real one changes nothing."""
        for forwarded in ("2001:db8::1", "198.51.100.1, 2001:db8::ffff:2"):
            await probe("Read", metadata=(("x-forwarded-for", forwarded),))
        refused = await refusal(probe("Read", metadata=(("x-forwarded-for", "198.51.100.2, 2001:db8::3"),)))
        neighbor = await probe("Read", id="n", metadata=(("x-forwarded-for", "2001:db8:0:1::1"),))

        assert grpc.StatusCode.RESOURCE_EXHAUSTED is refused.code
        assert "n" == neighbor.text


class TestCountry:
    @pytest.mark.parametrize(
        ("named", "believed"), [("JP", "JP"), ("jp", ""), ("JPN", ""), ("J", ""), ("", ""), ("J1", ""), ("JP,DE", ""), ("*", "")]
    )
    def test_is_two_letters_or_unknown(self, verifier: TokenVerifier, named: str, believed: str) -> None:
        caller = Identification(verifier).identify({"x-ani-country": named}, lambda: "unix:")

        assert believed == caller.viewer.country

    async def test_is_the_gateways_word_alone(self, served: Served) -> None:
        """B5: the headers of others name nobody and nowhere. The gateway itself takes x-ani-country from what comes in."""
        claimed = (
            ("x-country", "DE"),
            ("cf-ipcountry", "DE"),
            ("x-user-id", "0191d7a0-0000-7000-8000-0000000000aa"),
            ("x-account-id", "0191d7a0-0000-7000-8000-0000000000aa"),
            ("x-role", "admin"),
            ("x-ani-role", "admin"),
            ("x-ani-account", "a"),
            ("x-envoy-external-address", "192.0.2.7"),
            ("x-real-ip", "192.0.2.7"),
            ("forwarded", "for=192.0.2.7"),
        )

        answer = await served.system.GetCaller(pb.GetCallerRequest(), metadata=claimed)

        assert ("", "", 0) == (answer.country, answer.account_id, answer.role)


class TestRemembering:
    def test_is_bounded_whatever_callers_send(self, verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("server.pipeline.viewer.REMEMBERED_CALLERS", 1000)
        identification = Identification(verifier)
        tracemalloc.start()
        try:
            for number in range(2000):
                identification.identify({"x-forwarded-for": f"{number}," * 3000 + f"10.{number >> 8}.{number & 255}.1"}, str)
            long, _ = tracemalloc.get_traced_memory()
            for number in range(2000):
                identification.identify({"x-forwarded-for": f"10.0.{number >> 8}.{number & 255}"}, str)
            usual, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert long < 200_000
        assert len(identification._callers) == 1000
        assert usual < 2_000_000
