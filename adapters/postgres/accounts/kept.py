"""What Accounts keeps of accounts."""

from __future__ import annotations

from adapters.postgres.accounts.device_tables import device_logins, guest_passes
from adapters.postgres.accounts.key_tables import api_keys
from adapters.postgres.accounts.own_data_tables import exports
from adapters.postgres.accounts.profile_tables import profiles, title_requests
from adapters.postgres.accounts.proof_tables import issuer_links, passkeys, recovery_codes, totps
from adapters.postgres.accounts.tables import accounts, revocations, sessions, sign_ins
from adapters.postgres.accounts.team_tables import team_invitations, team_members
from adapters.postgres.own_data import Fate, Kept
from domain.accounts.device_login import DeviceLoginState
from domain.accounts.model import EndReason, SessionKind
from domain.accounts.teams import Duty
from domain.accounts.title_requests import TitleRequestState
from domain.kernel import Role

KEPT = (
    Kept(
        table=accounts,
        about="The account itself.",
        withheld=frozenset({"email_key", "name_key", "password_hash"}),
        named={"role": Role},
    ),
    Kept(
        table=profiles,
        about="Its profiles; allowed hours are weekday, first and last minute.",
        withheld=frozenset({"name_key", "pin_hash"}),
    ),
    Kept(
        table=sessions,
        about="Where it was signed in, while that is kept.",
        withheld=frozenset({"generation"}),
        named={"kind": SessionKind, "end_reason": EndReason},
    ),
    Kept(table=device_logins, about="Devices that were let in from another one.", named={"state": DeviceLoginState}),
    Kept(table=guest_passes, about="Guests who were let in."),
    Kept(table=title_requests, about="Titles that its children asked for.", named={"state": TitleRequestState}),
    Kept(table=team_members, about="Teams that it belongs to.", named={"duties": Duty}),
    Kept(table=team_invitations, about="Teams that it is invited to."),
    Kept(table=team_invitations, column="inviter_id", name="team_invitations_sent", about="Whom it invited to teams."),
    Kept(table=api_keys, about="API keys, without the keys.", withheld=frozenset({"sealed_secret"})),
    Kept(
        table=totps,
        about="That it signs in with an authenticator app.",
        withheld=frozenset({"sealed_seed", "last_step"}),
    ),
    Kept(table=recovery_codes, about="Which of its recovery codes were used when, without the codes."),
    Kept(table=passkeys, about="Its passkeys, without their keys.", withheld=frozenset({"sign_count"})),
    Kept(table=issuer_links, about="Accounts elsewhere that it signs in with."),
    Kept(table=exports, about="Exports such as this one.", withheld=frozenset({"keys"})),
    Kept(table=sign_ins, why="Codes and tokens on their way, gone after ten minutes; nothing in it but what is told elsewhere."),
    Kept(
        table=revocations,
        fate=Fate.STAYS,
        why="Without it, tokens that were given out would be good again. Gone 25 hours after the last session ended.",
    ),
)
