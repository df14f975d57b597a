"""The probe contract, compiled when the first test asks for it."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import build
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor

# What the probe imports has to be known before the probe is.
from ani.options.v1 import policy_pb2  # noqa: F401
from buf.validate import validate_pb2  # noqa: F401

HERE = Path(__file__).parent
PROTO = "probe.proto"


@cache
def file() -> FileDescriptor:
    """Compile the contract and make it known."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "probe.binpb")
        build.protoc(
            *build.includes(),
            f"-I{HERE}",
            f"--descriptor_set_in={build.GEN / 'validate.binpb'}",
            f"--descriptor_set_out={output}",
            PROTO,
        )
        files = descriptor_pb2.FileDescriptorSet.FromString(output.read_bytes())
    pool = descriptor_pool.Default()
    pool.Add(files.file[0])
    return pool.FindFileByName(PROTO)


def service() -> ServiceDescriptor:
    return file().services_by_name["ProbeService"]


def message(name: str) -> Any:
    """Return the class of one of the contract's messages."""
    return message_factory.GetMessageClass(file().message_types_by_name[name])
