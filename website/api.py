"""The reference of the gRPC API, from the proto files and the comments in them."""

from __future__ import annotations

import subprocess
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

PROTO = Path(__file__).parents[1] / "proto"
PACKAGE = "svdfarm.v1"
_INTRODUCTION = f"""\
# The gRPC API

Package `{PACKAGE}`. It only grows: `make check` refuses a change of proto/ that would break who
speaks to an older or newer farm. The port has reflection, so that `grpcurl` and its like need no
files; [errors](../errors.md) has the reasons of refusals, [tokens](../TOKENS.md) who may call what.
Workers alone use the session service.
"""
# What a reader meets first.
_ORDER = ("render", "resources", "worker", "tenant", "token", "session")
# Numbers of descriptor.proto's fields, of which a comment's path is made.
_FILE_MESSAGE, _FILE_ENUM, _FILE_SERVICE, _PART, _NESTED, _ENUM_IN_MESSAGE = 4, 5, 6, 2, 3, 4
_TYPES = {value: name[5:].lower() for name, value in FieldDescriptorProto.Type.items()}


@dataclass(frozen=True)
class File:
    """A proto file and its comments, by descriptor.proto's paths."""

    proto: FileDescriptorProto
    comments: dict[tuple[int, ...], str]

    def about(self, *path: int) -> str:
        """The comment there, in one line, as a cell of a table can have it."""
        return (
            " ".join(self.comments.get(path, "").split()).replace("|", "\\|").replace("<", "&lt;")
        )


def page() -> str:
    """Services with their methods, then messages and enums with their fields, file by file."""
    lines = [_INTRODUCTION]
    for file in sorted(_files(), key=_place):
        lines += [f"## {Path(file.proto.name).name}", ""]
        lines += _services(file)
        for number, message in enumerate(file.proto.message_type):
            lines += _message(file, message, message.name, (_FILE_MESSAGE, number))
        for number, enum in enumerate(file.proto.enum_type):
            lines += _enum(file, enum, enum.name, (_FILE_ENUM, number))
    return "\n".join(lines)


def _files() -> list[File]:
    buf = Path(sysconfig.get_path("scripts")) / "buf"
    made = subprocess.run(
        [buf, "build", PROTO, "--output", "-"], check=True, stdout=subprocess.PIPE
    )
    found = FileDescriptorSet.FromString(made.stdout)
    return [
        File(
            proto,
            {tuple(at.path): at.leading_comments for at in proto.source_code_info.location},
        )
        for proto in found.file
        if proto.package == PACKAGE
    ]


def _place(file: File) -> int:
    name = Path(file.proto.name).name
    return next(at for at, word in enumerate(_ORDER) if name.startswith(word))


def _services(file: File) -> Iterator[str]:
    for number, service in enumerate(file.proto.service):
        yield f"### {service.name}"
        yield ""
        yield file.about(_FILE_SERVICE, number)
        yield ""
        yield "| method | takes | returns | |"
        yield "|---|---|---|---|"
        for part, method in enumerate(service.method):
            takes = _linked(method.input_type, stream=method.client_streaming)
            returns = _linked(method.output_type, stream=method.server_streaming)
            about = file.about(_FILE_SERVICE, number, _PART, part)
            yield f"| `{method.name}` | {takes} | {returns} | {about} |"
        yield ""


def _message(
    file: File, message: DescriptorProto, name: str, path: tuple[int, ...]
) -> Iterator[str]:
    yield f"### {name} {{ #{_anchor(name)} }}"
    yield ""
    yield file.about(*path)
    yield ""
    if message.field:
        yield "| field | type | |"
        yield "|---|---|---|"
        for number, field in enumerate(message.field):
            about = file.about(*path, _PART, number)
            yield f"| `{field.name}` = {field.number} | {_kind(message, field)} | {about} |"
        yield ""
    for number, inner in enumerate(message.nested_type):
        if not inner.options.map_entry:
            yield from _message(file, inner, f"{name}.{inner.name}", (*path, _NESTED, number))
    for number, enum in enumerate(message.enum_type):
        yield from _enum(file, enum, f"{name}.{enum.name}", (*path, _ENUM_IN_MESSAGE, number))


def _enum(file: File, enum: EnumDescriptorProto, name: str, path: Sequence[int]) -> Iterator[str]:
    yield f"### {name} {{ #{_anchor(name)} }}"
    yield ""
    yield file.about(*path)
    yield ""
    yield "| value | |"
    yield "|---|---|"
    for number, value in enumerate(enum.value):
        yield f"| `{value.name}` = {value.number} | {file.about(*path, _PART, number)} |"
    yield ""


def _kind(message: DescriptorProto, field: FieldDescriptorProto) -> str:
    for inner in message.nested_type:
        if inner.options.map_entry and field.type_name.endswith(f".{message.name}.{inner.name}"):
            key, value = inner.field
            return f"map of {_plain(key)} to {_plain(value)}"
    words = []
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        words.append("repeated")
    if field.proto3_optional:
        words.append("optional")
    elif field.HasField("oneof_index"):
        words.append(f"one of `{message.oneof_decl[field.oneof_index].name}`:")
    return " ".join([*words, _plain(field)])


def _plain(field: FieldDescriptorProto) -> str:
    return _linked(field.type_name) if field.type_name else _TYPES[field.type]


def _linked(type_name: str, *, stream: bool = False) -> str:
    name = type_name.removeprefix(f".{PACKAGE}.")
    shown = name.removeprefix(".google.protobuf.")
    link = f"[{shown}](#{_anchor(name)})" if name != type_name else shown
    return f"stream of {link}" if stream else link


def _anchor(name: str) -> str:
    return "of-" + name.replace(".", "-").lower()
