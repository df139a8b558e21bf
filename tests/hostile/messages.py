"""Messages of every method, built at random from their descriptors, and some with broken bytes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from svdfarm.v1 import render_service_pb2, session_service_pb2, worker_service_pb2

_KIND = FieldDescriptor
_DEPTH_LIMIT = 4
_SHA256 = "0123456789abcdef" * 4
_TEXTS = (
    "",
    "jobs/abc",
    "jobs/abc/shots/1",
    "jobs/abc/shots/1/video",
    "jobs/abc/shots/999999",
    "jobs/../../etc/passwd",
    "jobs/-",
    f"images/{_SHA256}",
    "images/../x",
    "workers/w-1",
    "workers/" + "w" * 129,
    "../../etc/passwd",
    "a\0b",
    "\u202e\U0010ffff",
    "x" * 300,
    "é" * 20_000,
    "tiny",
    "svd-xt",
    "4f1c2e76-8a77-4b53-9c1a-3f2f0a0f7b11",
    "1",
    "-1",
    "9" * 400,
    "https://127.0.0.1:1/x",
    "'; DROP TABLE job; --",
    "{shot}.mp4",
    "a.mp4",
    "display_name",
    "priority",
)
_WHOLE = (0, 1, 2, 7, 8, 64, 100, 127, 1000, 2**31 - 1)
_REAL = (0.0, 1.0, -1.0, 0.02, 1e308, -1e308, 5e-324, float("nan"), float("inf"), float("-inf"))


def methods() -> Iterator[MethodDescriptor]:
    """Every method of every service of the farm."""
    for file in (render_service_pb2, worker_service_pb2, session_service_pb2):
        for service in file.DESCRIPTOR.services_by_name.values():
            yield from service.methods


class Requests:
    """Requests by a seed; `likely` are good texts by the names of fields, which get in farther."""

    def __init__(self, seed: int, likely: Mapping[str, Sequence[str]]) -> None:
        self.chance = random.Random(seed)
        self._likely = likely

    def make(self, method: MethodDescriptor) -> bytes:
        """The bytes of one request, one in three of them broken."""
        data = bytearray(self._message(method.input_type, 0).SerializePartialToString())
        if self.chance.random() < 0.33:
            for _ in range(self.chance.randint(1, 6)):
                self.chance.choice(_MUTATIONS)(data, self.chance)
        return bytes(data)

    def _message(self, kind: Any, depth: int) -> Message:
        made: Message = message_factory.GetMessageClass(kind)()
        skipped = {
            field.name
            for oneof in kind.oneofs
            for field in self.chance.sample(list(oneof.fields), len(oneof.fields) - 1)
        }
        for field in kind.fields:
            if field.name in skipped:
                continue
            if self.chance.random() < (0.7 if depth else 0.3):
                continue
            if field.message_type is not None:
                if depth < _DEPTH_LIMIT:
                    self._fill(made, field, depth)
            elif field.is_repeated:
                for _ in range(self.chance.choice((1, 1, 2, 30))):
                    getattr(made, field.name).append(self._value(field))
            else:
                setattr(made, field.name, self._value(field))
        return made

    def _fill(self, made: Message, field: FieldDescriptor, depth: int) -> None:
        there = getattr(made, field.name)
        if field.message_type.GetOptions().map_entry:
            key, value = field.message_type.fields
            for _ in range(self.chance.choice((1, 3, 50))):
                if value.message_type is None:
                    there[self._value(key)] = self._value(value)
        elif field.is_repeated:
            for _ in range(self.chance.choice((1, 1, 2, 5))):
                there.add().CopyFrom(self._message(field.message_type, depth + 1))
        else:
            there.CopyFrom(self._message(field.message_type, depth + 1))

    def _value(self, field: FieldDescriptor) -> Any:
        match field.cpp_type:
            case _KIND.CPPTYPE_STRING if field.type == _KIND.TYPE_BYTES:
                return self.chance.randbytes(self.chance.choice((0, 1, 32, 3000)))
            case _KIND.CPPTYPE_STRING:
                likely = self._likely.get(field.name)
                return self.chance.choice(
                    likely if likely and self.chance.random() < 0.7 else _TEXTS
                )
            case _KIND.CPPTYPE_BOOL:
                return self.chance.random() < 0.5
            case _KIND.CPPTYPE_DOUBLE | _KIND.CPPTYPE_FLOAT:
                return self.chance.choice(_REAL)
            case _KIND.CPPTYPE_ENUM:
                return self.chance.choice((0, 1, 2, 5, 99, 2**31 - 1, -1))
            case _KIND.CPPTYPE_INT32:
                return self.chance.choice((*_WHOLE, -1, -(2**31)))
            case _KIND.CPPTYPE_INT64:
                return self.chance.choice((*_WHOLE, -1, -(2**63), 2**63 - 1))
            case _KIND.CPPTYPE_UINT32:
                return self.chance.choice((*_WHOLE, 2**32 - 1))
            case _:
                return self.chance.choice((*_WHOLE, 2**64 - 1))


def _flip(data: bytearray, chance: random.Random) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randint(0, len(data)) :]


def _insert(data: bytearray, chance: random.Random) -> None:
    place = chance.randint(0, len(data))
    data[place:place] = chance.randbytes(chance.randint(1, 20))


def _nest(data: bytearray, chance: random.Random) -> None:
    data += b"\x0b" * chance.choice((3, 200, 5000))  # groups that never end


_MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (_flip, _cut, _insert, _nest)
