"""Turn the contract into gen/: typed stubs and the descriptor sets that server, gateway and lint read."""

from __future__ import annotations

import hashlib
import shutil
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
GEN = ROOT / "gen"
TOOLS = ("grpcio-tools", "mypy-protobuf", "protovalidate", "googleapis-common-protos")
VALIDATE = "buf/validate/validate.proto"


def contract() -> list[Path]:
    """Return the contract's files, sorted."""
    return sorted(PROTO.glob("ani/**/*.proto"))


def fingerprint() -> str:
    """Return a digest of everything that gen/ is made from."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for tool in TOOLS:
        digest.update(f"{tool}={version(tool)};".encode())
    for path in contract():
        digest.update(path.relative_to(PROTO).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def protoc(*arguments: str) -> None:
    """Run protoc in this process; its own message names what is wrong."""
    from grpc_tools import protoc as tool

    if tool.main(["protoc", *arguments]) != 0:
        raise SystemExit("proto/build.py: protoc refused the contract; see its message above")


def includes() -> list[str]:
    """Return the import roots: the contract, Google's API protos and protoc's own."""
    import grpc_tools
    from google.api import annotations_pb2

    own = Path(grpc_tools.__file__).parent / "_proto"
    api = Path(annotations_pb2.__file__).parent.parent.parent
    return [f"-I{PROTO}", f"-I{own}", f"-I{api}"]


def validate_descriptor() -> bytes:
    """Return buf/validate as a descriptor set: no wheel ships its text, but protovalidate carries it compiled."""
    from google.protobuf import descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2
    from protovalidate._gen.buf.validate import validate_pb

    files = descriptor_pb2.FileDescriptorSet()
    for module in (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2):
        files.file.add().ParseFromString(module.DESCRIPTOR.serialized_pb)
    files.file.add().ParseFromString(validate_pb.desc().proto.to_binary())
    return files.SerializeToString()


def build(target: Path) -> None:
    """Write the stubs, image.binpb (with comments, for lint and docs) and descriptor.binpb (without, for the runtime)."""
    from google.protobuf import descriptor_pb2

    files = [path.relative_to(PROTO).as_posix() for path in contract()]
    image = target / "image.binpb"
    scripts = Path(sysconfig.get_path("scripts"))  # an environment need not be activated
    target.mkdir(parents=True)
    (target / "validate.binpb").write_bytes(validate_descriptor())
    protoc(
        *includes(),
        f"--descriptor_set_in={target / 'validate.binpb'}",
        *(f"--plugin=protoc-gen-{name}={scripts / f'protoc-gen-{name}'}" for name in ("mypy", "mypy_grpc")),
        *(f"--{kind}_out={target}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")),
        *files,
        VALIDATE,
    )
    # The error details belong to the descriptor although nothing imports them: Envoy renders a refusal's details from it.
    protoc(
        *includes(),
        f"--descriptor_set_in={target / 'validate.binpb'}",
        f"--descriptor_set_out={image}",
        "--include_imports",
        "--include_source_info",
        *files,
        "google/rpc/error_details.proto",
        "google/api/httpbody.proto",
    )
    descriptors = descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes())
    for file in descriptors.file:
        file.ClearField("source_code_info")
    (target / "descriptor.binpb").write_bytes(descriptors.SerializeToString())


def main() -> int:
    stamp = GEN / "fingerprint"
    wanted = fingerprint()
    if stamp.exists() and stamp.read_text() == wanted:
        return 0
    fresh = GEN.with_name("gen.new")
    shutil.rmtree(fresh, ignore_errors=True)
    build(fresh)
    (fresh / "fingerprint").write_text(wanted)
    shutil.rmtree(GEN, ignore_errors=True)
    fresh.rename(GEN)
    return 0


if __name__ == "__main__":
    sys.exit(main())
