"""The packed contract is whole: a compiler needs nothing else, and reads from it what we run on."""

from __future__ import annotations

import tarfile
from pathlib import Path

import build
import grpc_tools
import pack
import pytest
from google.protobuf import descriptor_pb2 as pb
from grpc_tools import protoc

WELL_KNOWN = Path(grpc_tools.__file__).parent / "_proto"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("protos")
    with tarfile.open(pack.pack(folder, version="1.2.3")) as archive:
        archive.extractall(folder, filter="data")
    return folder / "ani-protos-1.2.3"


@pytest.fixture(scope="module")
def compiled(unpacked: Path) -> dict[str, pb.FileDescriptorProto]:
    output = unpacked.parent / "compiled.binpb"
    files = [path.relative_to(unpacked).as_posix() for path in unpacked.glob("ani/**/*.proto")]
    status = protoc.main(
        [
            "protoc",
            f"-I{unpacked}",
            f"-I{WELL_KNOWN}",
            f"--descriptor_set_out={output}",
            "--include_imports",
            *files,
            build.VALIDATE,
        ]
    )
    assert status == 0
    return {file.name: file for file in pb.FileDescriptorSet.FromString(output.read_bytes()).file}


@pytest.fixture(scope="module")
def ours() -> dict[str, pb.FileDescriptorProto]:
    return {file.name: file for file in pb.FileDescriptorSet.FromString((build.GEN / "descriptor.binpb").read_bytes()).file}


def bare(file: pb.FileDescriptorProto) -> pb.FileDescriptorProto:
    """Return the file without what the text leaves out, and with its fields in the order of their numbers."""
    plain = pb.FileDescriptorProto()
    plain.CopyFrom(file)
    for message in plain.message_type:
        for member in (*message.field, *message.oneof_decl):
            member.ClearField("options")
        # The text keeps the members of a oneof together.
        members = sorted(message.field, key=lambda member: member.number)
        del message.field[:]
        message.field.extend(members)
        for extended in message.extension_range:
            extended.ClearField("options")
    return plain


class TestPack:
    def test_compiles_to_the_contract_that_we_run_on(
        self, compiled: dict[str, pb.FileDescriptorProto], ours: dict[str, pb.FileDescriptorProto]
    ) -> None:
        contract = [name for name in ours if name.startswith("ani/")]

        assert contract
        assert [compiled[name] for name in contract] == [ours[name] for name in contract]

    def test_writes_the_validation_rules_as_they_are_on_the_wire(
        self, compiled: dict[str, pb.FileDescriptorProto], ours: dict[str, pb.FileDescriptorProto]
    ) -> None:
        wanted, found = bare(ours[build.VALIDATE]), bare(compiled[build.VALIDATE])

        assert len(wanted.message_type) > 20
        assert found == wanted

    def test_holds_the_same_as_a_descriptor_set(self, unpacked: Path) -> None:
        assert (unpacked / "ani.binpb").read_bytes() == (build.GEN / "image.binpb").read_bytes()

    def test_names_its_version_and_its_licenses(self, unpacked: Path) -> None:
        text = (unpacked / "README.md").read_text()

        assert text.startswith("# The contract of Ani 1.2.3\n")
        assert text.count("Apache License 2.0") == 2

    def test_gives_the_same_bytes_for_the_same_contract(self, tmp_path: Path) -> None:
        first, second = (pack.pack(tmp_path / name, version="1.2.3").read_bytes() for name in ("first", "second"))

        assert first == second
