"""Pack the contract with everything it imports, as text and as a descriptor set, for those who generate clients from it."""

from __future__ import annotations

import gzip
import io
import sys
import tarfile
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from google.protobuf import descriptor_pb2 as pb

sys.path.insert(0, str(Path(__file__).parent))

import build

README = """\
# The contract of Ani {version}

    ani/        services and messages, with their documentation
    google/     the API and error types they import (Apache License 2.0, Google LLC)
    buf/        validation rules (Apache License 2.0, Buf Technologies, Inc.)
    ani.binpb   all of it compiled: a FileDescriptorSet with comments

`google/protobuf/*.proto` comes with every protoc. With protoc, name this folder:
`protoc -I . --<language>_out=... ani/catalog/v1/*.proto`; with buf, run `buf generate` here; or give `ani.binpb` to either.

`buf/validate/validate.proto` is written from its compiled form: its comments, and the expressions that only validators
read, are left out. It is the same on the wire.
"""
BUF = "version: v2\nmodules:\n  - path: .\n"
LICENSE = build.ROOT / "LICENSE"
TYPES = {number: name.removeprefix("TYPE_").lower() for name, number in pb.FieldDescriptorProto.Type.items()}
LABELS = {number: name.removeprefix("LABEL_").lower() for name, number in pb.FieldDescriptorProto.Label.items()}
MAX_NUMBER = 2**29


def proto2(file: pb.FileDescriptorProto) -> str:
    """Write a compiled proto2 file without nested types as text; comments and the options of fields are left out."""
    lines = ['syntax = "proto2";', "", f"package {file.package};", ""]
    lines += [f'import "{name}";' for name in file.dependency] + [""]
    for option, value in file.options.ListFields():
        shown = str(value).lower() if isinstance(value, bool) else '"' + str(value).replace("\\", "\\\\") + '"'
        lines.append(f"option {option.name} = {shown};")
    for extension in file.extension:
        lines += ["", f"extend {extension.extendee} {{", f"  {field(extension)}", "}"]
    for enum in file.enum_type:
        lines += ["", *block(f"enum {enum.name}", [f"{value.name} = {value.number};" for value in enum.value], reserved(enum))]
    for message in file.message_type:
        if message.nested_type or message.enum_type or message.extension:
            raise SystemExit(f"proto/pack.py: {message.name} of {file.name} has nested types, which it cannot write")
        lines += ["", *block(f"message {message.name}", members(message), reserved(message))]
    return "\n".join(lines) + "\n"


def block(head: str, *parts: Iterable[str]) -> Iterator[str]:
    yield head + " {"
    yield from (f"  {line}" for part in parts for line in part)
    yield "}"


def members(message: pb.DescriptorProto) -> Iterator[str]:
    """Write fields in their order; those of a oneof stand together."""
    for member in message.field:
        if not member.HasField("oneof_index"):
            yield field(member)
    for index, oneof in enumerate(message.oneof_decl):
        of = [member for member in message.field if member.HasField("oneof_index") and member.oneof_index == index]
        yield from block(f"oneof {oneof.name}", [field(member).removeprefix("optional ") for member in of])
    for extended in message.extension_range:
        yield f"extensions {span(extended.start, extended.end - 1)};"


def field(member: pb.FieldDescriptorProto) -> str:
    kind = member.type_name or TYPES[member.type]
    return f"{LABELS[member.label]} {kind} {member.name} = {member.number};"


def reserved(owner: pb.DescriptorProto | pb.EnumDescriptorProto) -> Iterator[str]:
    # The end of a message's range is outside of it, that of an enum's inside.
    beyond = 1 if isinstance(owner, pb.DescriptorProto) else 0
    if owner.reserved_range:
        yield f"reserved {', '.join(span(part.start, part.end - beyond) for part in owner.reserved_range)};"
    if owner.reserved_name:
        yield "reserved " + ", ".join(f'"{name}"' for name in owner.reserved_name) + ";"


def span(first: int, last: int) -> str:
    if first == last:
        return str(first)
    return f"{first} to {'max' if last >= MAX_NUMBER - 1 else last}"


def texts(image: pb.FileDescriptorSet) -> Iterator[tuple[str, bytes]]:
    """Yield each file of the contract and of what it imports, but for those that every protoc brings."""
    roots = [Path(include.removeprefix("-I")) for include in build.includes()]
    for file in image.file:
        if file.name == build.VALIDATE:
            yield file.name, proto2(file).encode()
        elif not file.name.startswith("google/protobuf/"):
            yield file.name, next(root / file.name for root in roots if (root / file.name).exists()).read_bytes()


def pack(target: Path, *, version: str) -> Path:
    """Write the archive; the same contract gives the same bytes."""
    data = (build.GEN / "image.binpb").read_bytes()
    image = pb.FileDescriptorSet.FromString(data)
    files = dict(texts(image)) | {"ani.binpb": data, "buf.yaml": BUF.encode(), "LICENSE": LICENSE.read_bytes()}
    files["README.md"] = README.format(version=version).encode()
    name = f"ani-protos-{version}"
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for path, text in sorted(files.items()):
            entry = tarfile.TarInfo(f"{name}/{path}")
            entry.size, entry.mode = len(text), 0o644
            archive.addfile(entry, io.BytesIO(text))
    target.mkdir(exist_ok=True)
    packed = target / f"{name}.tar.gz"
    packed.write_bytes(gzip.compress(content.getvalue(), mtime=0))
    return packed


def main() -> int:
    build.main()
    project = tomllib.loads((build.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    print(pack(build.ROOT / "dist", version=project["version"]).relative_to(build.ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
