"""Where staff may work from: their tokens and API keys are of no use elsewhere, whatever addresses a caller makes up."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

import grpc
import pytest

from adapters.postgres import Database, bare
from adapters.token_keys import TokenKeys
from adapters.tokens import TokenVerifier
from domain.kernel import Role
from server.pipeline.viewer import Identification, StaffElsewhere
from server.settings import Settings, SettingsRefused
from tests.accounts.staff import Office
from tests.pipeline.conftest import Probe, Token
from tests.serving import Metadata, Served, refusal

OFFICE = (ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8:1::/48"))
INSIDE, OUTSIDE = ("192.0.2.7", "2001:db8:1::9"), ("198.51.100.1", "2001:db8:2::9")
limited = pytest.mark.settings(staff_networks=OFFICE)


def by_way_of(*hops: str) -> Metadata:
    return (("x-forwarded-for", ", ".join(hops)),)


class TestStaffNetworks:
    @limited
    @pytest.mark.parametrize("role", [Role.MODERATOR, Role.EDITOR, Role.ADMIN])
    @pytest.mark.parametrize("address", INSIDE)
    async def test_let_staff_in(self, probe: Probe, token: Token, role: Role, address: str) -> None:
        answer = await probe("ForModerators", id="a", metadata=(*token(role), *by_way_of(address)))

        assert "a" == answer.text

    @limited
    @pytest.mark.parametrize("role", [Role.MODERATOR, Role.EDITOR, Role.ADMIN])
    @pytest.mark.parametrize("method", ["ForModerators", "ForMembers", "Read", "Follow"])
    async def test_keep_staff_elsewhere_out_of_everything(self, probe: Probe, token: Token, role: Role, method: str) -> None:
        for address in OUTSIDE:
            call = probe(method, metadata=(*token(role), *by_way_of(address)))
            refused = await refusal(anext(aiter(call)) if method == "Follow" else call)
            assert (grpc.StatusCode.PERMISSION_DENIED, "STAFF_ELSEWHERE") == (refused.code, refused.reason)
        assert 0 == probe.count(method)

    @limited
    @pytest.mark.parametrize("address", OUTSIDE)
    async def test_are_nothing_to_users_and_guests(self, probe: Probe, token: Token, address: str) -> None:
        member = await probe("ForMembers", id="a", metadata=(*token(), *by_way_of(address)))
        guest = await probe("Read", id="b", metadata=by_way_of(address))

        assert ["a", "b"] == [member.text, guest.text]

    async def test_are_everywhere_where_none_are_set(self, probe: Probe, token: Token) -> None:
        assert "a" == (await probe("ForAdmins", id="a", metadata=(*token(Role.ADMIN), *by_way_of("198.51.100.1")))).text

    @limited
    async def test_hold_for_a_token_that_was_just_good_within(self, probe: Probe, token: Token) -> None:
        """What is remembered of a token is of its place too."""
        admin = token(Role.ADMIN)
        for _ in range(2):
            assert await probe("ForAdmins", metadata=(*admin, *by_way_of("192.0.2.7")))
            assert "STAFF_ELSEWHERE" == (await refusal(probe("ForAdmins", metadata=(*admin, *by_way_of("198.51.100.1"))))).reason

    @limited
    async def test_hold_for_whoever_is_not_known_by_an_address(self, probe: Probe, token: Token) -> None:
        """A socket's end is nowhere; so are words."""
        for metadata in ((), by_way_of("localhost"), by_way_of("192.0.2.7:80"), by_way_of("192.0.2.7", "")):
            refused = await refusal(probe("ForAdmins", metadata=(*token(Role.ADMIN), *metadata)))
            assert "STAFF_ELSEWHERE" == refused.reason

    @limited
    async def test_hold_for_api_keys(
        self, served: Served, probe: Probe, database: Database, token: Callable[..., Metadata]
    ) -> None:
        def within(*given: object, **claims: object) -> Metadata:
            return (*token(*given, **claims), *by_way_of("192.0.2.7"))

        created = await (await Office(served, database, within).hire(Role.ADMIN)).create_key("accounts.read")
        key: Metadata = (("authorization", f"Bearer {created.key}"),)

        for _ in range(2):
            refused = await refusal(probe("Read", metadata=(*key, *by_way_of("198.51.100.1"))))
            assert (grpc.StatusCode.PERMISSION_DENIED, "STAFF_ELSEWHERE") == (refused.code, refused.reason)
            assert "a" == (await probe("Read", id="a", metadata=(*key, *by_way_of("192.0.2.7")))).text

    @limited
    async def test_tell_the_audit_log_whose_token_was_used_where(self, probe: Probe, token: Token, database: Database) -> None:
        await refusal(probe("ForAdmins", metadata=(*token(Role.ADMIN, account_id="thief"), *by_way_of("198.51.100.1"))))

        async with database.reads(bare)() as connection:
            (entry,) = await connection.fetch("SELECT account_id, role, address, reason FROM platform.audit_log")
        assert ("thief", "ADMIN", "198.51.100.1", "STAFF_ELSEWHERE") == tuple(entry)

    @pytest.mark.settings(staff_networks=OFFICE, quota_per_minute=3)
    async def test_leave_the_owners_allowance_alone(self, probe: Probe, token: Token) -> None:
        admin = token(Role.ADMIN)
        for _ in range(5):
            await refusal(probe("ForAdmins", metadata=(*admin, *by_way_of("198.51.100.1"))))

        assert "a" == (await probe("ForAdmins", id="a", metadata=(*admin, *by_way_of("192.0.2.7")))).text


class TestForwardedAddresses:
    @pytest.mark.parametrize(
        ("hops", "forwarded", "let_in"),
        [
            (0, "192.0.2.7", True),
            (0, "192.0.2.7, 198.51.100.1", False),
            (0, "198.51.100.1, 192.0.2.7", True),
            (1, "192.0.2.7, 203.0.113.9", True),
            (1, "192.0.2.7, 198.51.100.1, 203.0.113.9", False),
            (1, "198.51.100.1, 192.0.2.7, 203.0.113.9", True),
            (2, "192.0.2.7, 198.51.100.1, 203.0.113.9, 203.0.113.10", False),
            (2, "198.51.100.1, 192.0.2.7, 203.0.113.9, 203.0.113.10", True),
            # Fewer than there are proxies: then nobody in front can have been one of ours.
            (1, "198.51.100.1", False),
            (0, "::ffff:192.0.2.7", True),
            (0, "::ffff:198.51.100.1", False),
            (0, "2001:db8:1:ffff::1", True),
            (0, "2001:db8:1::9%eth0", True),
            (0, "0300.0.2.7", False),
            (0, "3221225991", False),
        ],
    )
    def test_count_as_far_as_the_proxies_are_trusted(
        self, token: Token, settings: Settings, hops: int, forwarded: str, *, let_in: bool
    ) -> None:
        """B5: whatever stands before the trusted ones was written by the caller."""
        verifier = TokenVerifier(TokenKeys.open(settings.key_folder), issuer="ani", audience="ani")
        identification = Identification(verifier, trusted_hops=hops, staff_networks=OFFICE)
        metadata = dict((*token(Role.ADMIN), ("x-forwarded-for", forwarded)))

        try:
            found = identification.identify(metadata, lambda: "unix:").rank is Role.ADMIN
        except StaffElsewhere:
            found = False

        assert let_in is found


class TestSetting:
    def test_is_a_list_of_networks(self) -> None:
        assert OFFICE == Settings.read({"ANI_STAFF_NETWORKS": "192.0.2.0/24, 2001:db8:1::/48"}).staff_networks
        assert () == Settings.read({"ANI_STAFF_NETWORKS": ""}).staff_networks

    @pytest.mark.parametrize("text", ["192.0.2.7/24", "office", "192.0.2.0/33", "192.0.2.0/24;10.0.0.0/8"])
    def test_is_refused_where_it_is_no_such_list(self, text: str) -> None:
        """A typo must not open the door."""
        with pytest.raises(SettingsRefused, match="ANI_STAFF_NETWORKS must be networks with commas between"):
            Settings.read({"ANI_STAFF_NETWORKS": text})
