"""Who is calling: identity from the token, address and country from the gateway, and what the contract lets them do."""

from __future__ import annotations

import ipaddress
import re
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from ani.options.v1 import policy_pb2
from domain.kernel import PermissionDenied, Role, Unauthenticated, Viewer
from domain.permissions import PermissionMissing, holds, is_over_others
from server.pipeline.keys import KeyShown, KnownKeys, shown_key
from server.pipeline.revoked import Revocation, Revoked, SessionRevoked

REMEMBERED_CALLERS = 20_000
# Of what a caller sends; more than this is looked at each time, since anyone may write a long x-forwarded-for.
REMEMBERED_LENGTH = 1024
GUEST_SECONDS = 3600
BEARER = "Bearer "
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
COUNTRY = re.compile(r"[A-Z]{2}")


class CredentialsMissing(Unauthenticated):
    """Raised when a method is for signed-in callers and nobody is signed in."""

    text = "This call needs an access token."


class CredentialsMalformed(Unauthenticated):
    """Raised when the authorization header is not a bearer token."""

    text = "The authorization header must be: Bearer, a space, and an access token or an API key."


class RoleTooLow(PermissionDenied):
    """Raised when the caller's role does not reach the one that the method asks for."""

    text = "This call needs the role {role}."


class ApiKeyInsufficient(PermissionDenied):
    """Raised when a tool calls a method that is for people with a role."""

    text = "An API key is not enough for this call: it is for people."


class GuestPassInsufficient(PermissionDenied):
    """Raised when the holder of a guest pass calls a method that is not for guests."""

    text = "A guest pass is not enough for this call: it lets a guest watch."


class LimitedProfileInsufficient(PermissionDenied):
    """Raised when a viewer on a limited profile calls a method that is about the account itself."""

    text = "A limited profile is not enough for this call: it is about the account itself."


class MethodUndeclared(PermissionDenied):
    """Raised when a method declares no access rule: what nobody opened stays shut."""

    text = "This call is not open to anyone."


class Identity(Protocol):
    """What a verified token says."""

    @property
    def viewer(self) -> Viewer: ...
    @property
    def expires(self) -> float: ...
    @property
    def issued(self) -> float: ...


class Verifier(Protocol):
    """Verifies access tokens."""

    def verify(self, token: str) -> Identity:
        """Return what the token says. Raises a refusal of kind Unauthenticated."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A viewer and where the call comes from."""

    viewer: Viewer
    address: str
    # When the token expires by which the viewer is known; none for a guest.
    expires: float | None = None
    # When it was issued: what is revoked later makes it void.
    issued: float = 0.0
    # The API key by which the viewer is known; empty for people.
    key_id: str = ""
    # The role of the account: that of the viewer, or of whoever created the key.
    rank: Role = Role.GUEST
    # All worked out once. Whose allowance the call is counted against, and who shares its address:
    key: str = field(init=False)
    network: str = field(init=False)
    # Between whom an answer may be shared, and everything that an answer to this caller alone may depend on:
    segment: str = field(init=False)
    self_only: str = field(init=False)

    def __post_init__(self) -> None:
        viewer, place = self.viewer, network(self.address)
        key = viewer.account_id or place
        asleep = "asleep" if viewer.asleep else ""
        own = " ".join((key, viewer.profile_id, viewer.role.name, viewer.segment, asleep, *sorted(viewer.permissions)))
        for name, value in (("key", key), ("network", place), ("segment", viewer.segment), ("self_only", own)):
            object.__setattr__(self, name, value)


class StaffElsewhere(PermissionDenied):
    """Raised when a token or an API key of staff is used outside of the networks that staff work in."""

    text = "An account with a role for staff can only be used from the networks that are set for it."

    def __init__(self, caller: Caller) -> None:
        super().__init__()
        # For the audit log: it may be a thief, and it says whose it is.
        self.caller = caller


class Identification:
    """Finds out who is calling; tokens are verified once and remembered until they expire."""

    def __init__(
        self,
        verifier: Verifier,
        *,
        keys: KnownKeys | None = None,
        trusted_hops: int = 0,
        staff_networks: Sequence[Network] = (),
        revoked: Revoked | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._verifier = verifier
        self._keys = keys
        self.revoked = revoked or Revoked(clock=clock)
        self._trusted_hops = trusted_hops
        self._staff_networks = staff_networks
        self._clock = clock
        self._callers: dict[tuple[str | bytes, ...], tuple[Caller, float]] = {}

    def identify(self, metadata: Mapping[str, str | bytes], peer: Callable[[], str]) -> Caller:
        """Raises refusals of kind Unauthenticated for a token that is there and not good, and KeyShown for an API key."""
        forwarded = metadata.get("x-forwarded-for", "")
        who = (metadata.get("authorization") or _plain_key(metadata), forwarded or peer(), metadata.get("x-ani-country", ""))
        known = self._callers.get(who)
        if known is not None and known[1] > self._clock():
            return known[0]
        caller, expires = self._meet(*(str(part) for part in who), forwarded=bool(forwarded))
        self._remember(who, caller, expires)
        return caller

    def is_known(self, metadata: Mapping[str, str | bytes]) -> bool:
        """Tell whether it is known who holds the API key that is shown."""
        return self._keys is not None and self._keys.known(shown_key(_credentials(metadata))) is not None

    async def find(self, metadata: Mapping[str, str | bytes], peer: Callable[[], str]) -> tuple[Caller, str]:
        """Return who shows an API key, and what the call must be signed with, if it must. Raises as KnownKeys.find does."""
        credentials, key = _credentials(metadata), shown_key(_credentials(metadata))
        if self._keys is None:
            raise CredentialsMalformed
        known = await self._keys.find(key)
        holder, forwarded, country = known.holder, str(metadata.get("x-forwarded-for", "")), str(metadata.get("x-ani-country", ""))
        caller = Caller(
            _placed(holder.viewer, country),
            self._address(forwarded or peer(), forwarded=bool(forwarded)),
            holder.expires.timestamp(),
            known.since,
            holder.key_id,
            holder.rank,
        )
        self._demand_near(caller)
        # Not what was revoked while it was asked for; and what must be signed is to come here each time.
        if self._keys.known(key) is known and not holder.secret:
            self._remember((credentials, forwarded or peer(), country), caller, known.until)
        return caller, holder.secret

    def revoke(self, revocations: Iterable[Revocation]) -> None:
        """Let nobody in any more by a token that was made void, and ask for API keys anew."""
        kept = list(revocations)
        news, accounts = self.revoked.add(kept), {one.account_id for one in kept}
        if not accounts:
            return
        if self._keys is not None:
            self._keys.forget(accounts)
        for who, (caller, _) in list(self._callers.items()):
            void = news and self.revoked.is_void(caller.viewer, caller.issued)
            if void or (caller.key_id and caller.viewer.account_id in accounts):
                del self._callers[who]

    def forget(self) -> None:
        """Look at every token anew, since keys are gone that may have signed some."""
        self._callers.clear()

    def stranger(self, metadata: Mapping[str, str | bytes], peer: Callable[[], str]) -> Caller:
        """Return a caller of whom nothing is believed but where he calls from."""
        forwarded = str(metadata.get("x-forwarded-for", ""))
        return Caller(Viewer(), self._address(forwarded or peer(), forwarded=bool(forwarded)))

    def _meet(self, credentials: str, origin: str, country: str, *, forwarded: bool) -> tuple[Caller, float]:
        viewer, expires, issued = Viewer(), self._clock() + GUEST_SECONDS, 0.0
        if credentials:
            if shown_key(credentials):
                raise KeyShown
            if not credentials.startswith(BEARER):
                raise CredentialsMalformed
            identity = self._verifier.verify(credentials[len(BEARER) :])
            viewer, expires, issued = identity.viewer, identity.expires, identity.issued
            if self.revoked.is_void(viewer, issued):
                raise SessionRevoked
        address = self._address(origin, forwarded=forwarded)
        caller = Caller(_placed(viewer, country), address, expires if credentials else None, issued, rank=viewer.role)
        self._demand_near(caller)
        return caller, expires

    def _demand_near(self, caller: Caller) -> None:
        """Raises StaffElsewhere."""
        if self._staff_networks and caller.rank.is_staff and not _within(caller.address, self._staff_networks):
            raise StaffElsewhere(caller)

    def _remember(self, who: tuple[str | bytes, ...], caller: Caller, until: float) -> None:
        if sum(map(len, who)) <= REMEMBERED_LENGTH:
            if len(self._callers) >= REMEMBERED_CALLERS:
                self._callers.pop(next(iter(self._callers)))
            self._callers[who] = (caller, until)

    def _address(self, origin: str, *, forwarded: bool) -> str:
        return self._hop(origin) if forwarded else _peer_address(origin)

    def _hop(self, forwarded: str) -> str:
        """Return the address that the outermost trusted proxy saw; what stands before it anyone may have written."""
        hops = forwarded.split(",")
        return hops[max(-1 - self._trusted_hops, -len(hops))].strip()


def _plain_key(metadata: Mapping[str, str | bytes]) -> str:
    """Return the API key that stands in a header of its own as if it stood where all credentials do."""
    return f"ApiKey {metadata['x-api-key']!s}" if "x-api-key" in metadata else ""


def _credentials(metadata: Mapping[str, str | bytes]) -> str:
    return str(metadata.get("authorization") or _plain_key(metadata))


def _placed(viewer: Viewer, country: str) -> Viewer:
    return replace(viewer, country=country) if COUNTRY.fullmatch(country) else viewer


def network(address: str) -> str:
    """Return what counts as one caller: an IPv4 address, or the /64 an IPv6 address is in, which one customer holds whole."""
    with suppress(OSError, ValueError):
        socket.inet_pton(socket.AF_INET, address)  # takes a tenth of what reading it does
        return address
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    # A socket for both families shows IPv4 callers in the one /64 of mapped addresses.
    return str(parsed.ipv4_mapped or ipaddress.ip_network((int(parsed), 64), strict=False))


def _within(address: str, networks: Sequence[Network]) -> bool:
    """Tell whether an address is in one of these networks; what is no address, such as a socket's, is in none."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    plain = parsed.ipv4_mapped or parsed if isinstance(parsed, ipaddress.IPv6Address) else parsed
    return any(plain in network for network in networks)


def gate(policy: policy_pb2.Policy | None) -> Callable[[Viewer], None]:
    """Return the check that a policy's access rule amounts to; it raises the refusal."""
    rule = policy.access.WhichOneof("rule") if policy else None
    if policy is None or rule is None or (rule == "public" and not policy.access.public):
        return _shut
    if rule == "public":
        return _open
    check = _for_role(Role(policy.access.role)) if rule == "role" else _for_permission(policy.access.permission)
    return _for_owner(check) if policy.access.owner else check


def guests(policy: policy_pb2.Policy | None) -> Callable[[Caller], Caller]:
    """Return what says whom a method takes the holder of a guest pass for; it raises GuestPassInsufficient."""
    access = policy.access if policy else policy_pb2.Access()
    if access.guest_pass:
        return _themselves
    return _nobody_known if access.public else _no_guest


def _themselves(caller: Caller) -> Caller:
    return caller


def _nobody_known(caller: Caller) -> Caller:
    return Caller(caller.viewer.shared(), caller.address)


def _no_guest(_caller: Caller) -> Caller:
    raise GuestPassInsufficient


def is_audited(policy: policy_pb2.Policy | None) -> bool:
    """Tell whether a policy's access rule makes a method one of which the audit log tells: for staff, or over what is others'."""
    if policy is None:
        return False
    if policy.access.WhichOneof("rule") == "permission":
        return is_over_others(policy.access.permission)
    return Role(policy.access.role).is_staff


def _open(_viewer: Viewer) -> None:
    pass


def _shut(_viewer: Viewer) -> None:
    raise MethodUndeclared


def _for_role(role: Role) -> Callable[[Viewer], None]:
    if role is Role.GUEST:
        return _shut

    def check(viewer: Viewer) -> None:
        if viewer.role < role:
            if viewer.role is Role.GUEST:
                raise ApiKeyInsufficient if viewer.account_id else CredentialsMissing
            raise RoleTooLow(role=role.name)

    return check


def _for_owner(allowed: Callable[[Viewer], None]) -> Callable[[Viewer], None]:
    def check(viewer: Viewer) -> None:
        allowed(viewer)
        if viewer.limited:
            raise LimitedProfileInsufficient

    return check


def _for_permission(permission: str) -> Callable[[Viewer], None]:
    def check(viewer: Viewer) -> None:
        if not holds(viewer, permission):
            raise PermissionMissing(permission=permission) if viewer.account_id else CredentialsMissing

    return check


def _peer_address(peer: str) -> str:
    """Return the address in a gRPC peer name: ipv4:1.2.3.4:5, ipv6:%5B::1%5D:5 or unix:path."""
    kind, _, rest = peer.partition(":")
    if kind == "ipv4":
        return rest.rpartition(":")[0]
    if kind == "ipv6":
        return rest.rpartition(":")[0].replace("%5B", "").replace("%5D", "")
    return kind
