"""What the contract marks as secret is blanked wherever a message is shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2
from google.protobuf.message import Message

from domain.accounts.api_keys import HINT_LENGTH, fresh_key, fresh_secret
from server.telemetry.redaction import REDACTED, redacted, redacted_text


@pytest.fixture(scope="module")
def login() -> type[Message]:
    """A message with secrets of its own and within others."""
    file = descriptor_pb2.FileDescriptorProto(name="redaction_test.proto", package="redaction", syntax="proto3")
    file.dependency.extend(["google/protobuf/any.proto", "google/protobuf/timestamp.proto"])
    kinds = descriptor_pb2.FieldDescriptorProto
    text, message, one, many = kinds.TYPE_STRING, kinds.TYPE_MESSAGE, kinds.LABEL_OPTIONAL, kinds.LABEL_REPEATED
    pin = file.message_type.add(name="Pin")
    pin.field.add(name="digits", number=1, type=text, label=one).options.debug_redact = True
    pin.field.add(name="hint", number=2, type=text, label=one)
    pin.field.add(name="back", number=3, type=message, label=one, type_name=".redaction.Login")
    login = file.message_type.add(name="Login")
    entry = login.nested_type.add(name="ByNameEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=text, label=one)
    entry.field.add(name="value", number=2, type=message, label=one, type_name=".redaction.Pin")
    login.field.add(name="user_name", number=1, type=text, label=one)
    login.field.add(name="password", number=2, type=text, label=one).options.debug_redact = True
    login.field.add(name="pin", number=3, type=message, label=one, type_name=".redaction.Pin")
    login.field.add(name="pins", number=4, type=message, label=many, type_name=".redaction.Pin")
    login.field.add(name="by_name", number=5, type=message, label=many, type_name=".redaction.Login.ByNameEntry")
    login.field.add(name="packed", number=6, type=message, label=one, type_name=".google.protobuf.Any")
    login.field.add(name="time", number=7, type=message, label=one, type_name=".google.protobuf.Timestamp")
    pool = descriptor_pool.Default()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("redaction.Login"))


class TestRedacted:
    def test_blanks_what_the_contract_marks_wherever_it_is(self, login: Any) -> None:
        message = login(user_name="ann", password="s3cret", time=timestamp_pb2.Timestamp(seconds=0))
        message.pin.digits = "s3cret"
        message.pin.back.password = "s3cret"
        message.pins.add(digits="s3cret", hint="year")
        message.by_name["a"].digits = "s3cret"
        message.packed.Pack(login(password="s3cret", user_name="ben"))
        shown = redacted(message)

        assert "s3cret" not in json.dumps(shown)
        assert shown["user_name"] == "ann"
        assert shown["password"] == REDACTED
        assert shown["pins"] == [{"digits": REDACTED, "hint": "year"}]
        assert shown["packed"]["user_name"] == "ben"
        assert shown["time"] == "1970-01-01T00:00:00Z"

    def test_leaves_an_empty_secret_out(self, login: Any) -> None:
        assert redacted(login(user_name="ann")) == {"user_name": "ann"}

    def test_shows_nothing_of_what_it_does_not_know(self, login: Any) -> None:
        message = login(user_name="ann", packed=any_pb2.Any(type_url="type.googleapis.com/not.Known", value=b"s3cret"))

        assert redacted(message) == {"@type": "redaction.Login"}


class TestRedactedText:
    def test_blanks_api_keys_and_leaves_the_hints_that_they_are_known_by(self) -> None:
        key, secret = fresh_key(), fresh_secret()

        shown = redacted_text(f"x-api-key {key} and {secret} of the key {key[:HINT_LENGTH]}")

        assert f"x-api-key {REDACTED} and {REDACTED} of the key {key[:HINT_LENGTH]}" == shown
