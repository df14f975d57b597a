"""Where the messages and dataclasses of accounts meet."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

from ani.accounts.v1 import account_pb2, sign_in_pb2
from domain.accounts.model import Account, Device, Session, Tokens
from domain.accounts.steps import Challenge, Step
from server.pipeline.call import Call

Message = TypeVar("Message")


def device_from_pb(message: sign_in_pb2.Device, call: Call) -> Device:
    """Return the device that calls; where it is, the gateway says."""
    return Device(
        client=message.client,
        device_id=message.device_id,
        device_name=message.name,
        address=call.network,
        country=call.viewer.country,
    )


def account_to_pb(account: Account) -> account_pb2.Account:
    message = account_pb2.Account(
        account_id=account.account_id,
        email=account.email,
        name=account.name,
        language=account.language,
        role=account.role.value,  # type: ignore[arg-type]
        has_password=account.password_hash is not None,
        version=account.version,
    )
    return stamped(message, account, "email_verify_time", "password_time", "create_time", "update_time", "delete_time")


def session_to_pb(session: Session, *, current: str) -> account_pb2.Session:
    message = account_pb2.Session(
        session_id=session.session_id,
        kind=session.kind.value,  # type: ignore[arg-type]
        client=session.device.client,
        device_name=session.device.device_name,
        country=session.device.country,
        address=session.device.address,
        profile_id=session.profile_id,
        current=session.session_id == current,
    )
    return stamped(message, session, "create_time", "use_time", "expire_time")


def tokens_to_pb(tokens: Tokens) -> sign_in_pb2.Tokens:
    message = sign_in_pb2.Tokens(
        access_token=tokens.access_token,
        refresh_token=tokens.refresh_token,
        account_id=tokens.account_id,
        session_id=tokens.session_id,
        device_token=tokens.device_token,
    )
    return stamped(message, tokens, "access_expire_time", "refresh_expire_time")


def step_to_pb(step: Step) -> sign_in_pb2.SignInStep:
    if step.challenge is not None:
        return sign_in_pb2.SignInStep(sign_in=step.token, challenge=_challenge_to_pb(step.challenge))
    if step.tokens is not None:
        return sign_in_pb2.SignInStep(tokens=tokens_to_pb(step.tokens))
    return sign_in_pb2.SignInStep(done=True)


def _challenge_to_pb(challenge: Challenge) -> sign_in_pb2.Challenge:
    message = sign_in_pb2.Challenge(
        kind=challenge.kind.value,  # type: ignore[arg-type]
        alternatives=[kind.value for kind in challenge.alternatives],  # type: ignore[misc]
        hint=challenge.show.get("hint", ""),
        passkey_options=challenge.show.get("passkey_options", ""),
        authorization_url=challenge.show.get("authorization_url", ""),
    )
    return stamped(message, challenge, "expire_time")


def stamped(message: Message, source: Any, *names: str) -> Message:
    """Set the times that there are."""
    for name in names:
        moment: datetime | None = getattr(source, name)
        if moment is not None:
            getattr(message, name).FromDatetime(moment)
    return message
