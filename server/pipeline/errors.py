"""The one place where refusals become gRPC statuses; whatever is no refusal becomes INTERNAL and says nothing."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from domain import kernel
from domain.kernel import Refusal

DOMAIN = "ani"
DETAILS_KEY = "grpc-status-details-bin"

CODES: dict[type[Refusal], grpc.StatusCode] = {
    kernel.NotFound: grpc.StatusCode.NOT_FOUND,
    kernel.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    kernel.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    kernel.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    kernel.Conflict: grpc.StatusCode.ABORTED,
    kernel.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    kernel.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    kernel.Exhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    kernel.Unavailable: grpc.StatusCode.UNAVAILABLE,
}
# Another change came between: whoever reads again at once will mostly win.
CONFLICT_RETRY_SECONDS = 0.05
# In bytes. A status travels as metadata, of which clients take 8 kB, in base64 and the message once more with escapes.
LONGEST_MESSAGE, LONGEST_DETAIL, LONGEST_VIOLATIONS = 512, 256, 3000


@dataclass(frozen=True, slots=True)
class Violation:
    """A field of the request that breaks a rule of the contract."""

    field: str
    description: str
    rule: str = ""


class RequestInvalid(kernel.InvalidArgument):
    """Raised when a request breaks rules of the contract."""

    text = "The request is invalid: {summary}"

    def __init__(self, violations: list[Violation]) -> None:
        self.violations = violations
        shown = "; ".join(f"{v.field}: {v.description}" if v.field else v.description for v in violations[:3])
        rest = f" (and {len(violations) - 3} more)" if len(violations) > 3 else ""
        super().__init__(summary=shown + rest)


class RequestMalformed(kernel.InvalidArgument):
    """Raised when the bytes of a request are not the message that the method takes."""

    text = "The request is not a valid {message} message."


class Overdue(kernel.Refusal):
    """Raised when a call ran out of the time that it may take."""

    text = "The call took longer than the {seconds} seconds it may take."


class InternalFault(kernel.Refusal):
    """Shown in place of whatever went wrong inside; the log has the rest under the same request id."""

    text = "Something went wrong on the server. Quote the request id when you report it."


@dataclass(frozen=True, slots=True)
class Answer:
    """A refusal as it goes over the wire."""

    code: grpc.StatusCode
    message: str
    status: status_pb2.Status
    metadata: tuple[tuple[str, str | bytes], ...]


def answer(refusal: Refusal) -> Answer:
    """Turn a refusal into a status with its details."""
    code, message = code_of(refusal), _cut(str(refusal), LONGEST_MESSAGE)
    status = status_pb2.Status(code=code.value[0], message=message)
    details = {name: _cut(value, LONGEST_DETAIL) for name, value in refusal.details.items()}
    status.details.append(_packed(error_details_pb2.ErrorInfo(reason=reason(type(refusal)), domain=DOMAIN, metadata=details)))
    if violations := _violations(refusal):
        status.details.append(_packed(_bad_request(violations)))
    metadata: list[tuple[str, str | bytes]] = []
    seconds = retry_after(refusal)
    if seconds is not None:
        delay = duration_pb2.Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))
        status.details.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
        metadata.append(("retry-after", str(max(1, math.ceil(seconds)))))
    metadata.append((DETAILS_KEY, status.SerializeToString()))
    return Answer(code, message, status, tuple(metadata))


def code_of(refusal: Refusal) -> grpc.StatusCode:
    """Return the status code of a refusal's kind."""
    if isinstance(refusal, Overdue):
        return grpc.StatusCode.DEADLINE_EXCEEDED
    if isinstance(refusal, InternalFault):
        return grpc.StatusCode.INTERNAL
    return CODES[refusal.kind]


def retry_after(refusal: Refusal) -> float | None:
    """Return the seconds after which trying again may help, or None when it does not."""
    if isinstance(refusal, (kernel.Exhausted, kernel.Unavailable)):
        return refusal.retry_after
    return CONFLICT_RETRY_SECONDS if isinstance(refusal, kernel.Conflict) else None


def reason(refusal: type[Refusal]) -> str:
    """Return the machine-readable name of a refusal: ReleaseNotFound gives RELEASE_NOT_FOUND."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", refusal.__name__).upper()


def _violations(refusal: Refusal) -> list[Violation]:
    if isinstance(refusal, RequestInvalid):
        return refusal.violations
    if field := refusal.details.get("field"):
        return [Violation(field, str(refusal), reason(type(refusal)))]
    return []


def _bad_request(violations: list[Violation]) -> error_details_pb2.BadRequest:
    """Name the fields that are wrong, as many as a client is sure to take."""
    bad = error_details_pb2.BadRequest()
    for v in violations:
        description = _cut(v.description, LONGEST_DETAIL)
        bad.field_violations.add(field=_cut(v.field, LONGEST_DETAIL), description=description, reason=v.rule)
        if bad.ByteSize() > LONGEST_VIOLATIONS:
            del bad.field_violations[-1]
            break
    return bad


def _cut(text: str, limit: int) -> str:
    """Shorten a text to so many bytes."""
    return text if len(text) * 4 <= limit else text.encode()[:limit].decode(errors="ignore")


def _packed(message: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
