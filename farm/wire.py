"""Parameters, models, times and logs as messages of the wire, for every program that speaks it."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from farm.jobs.codec import Codec
from farm.jobs.params import Fit, ModelInfo, RenderParams
from farm.jobs.retry import MemoryProfile
from farm.jobs.tiers import Tier
from svdfarm.v1 import resources_pb2 as pb
from svdfarm.v1 import session_service_pb2 as session_pb

W = TypeVar("W", bound=enum.StrEnum)

# Fields of the same name and meaning in RenderParams on both sides.
_PLAIN = (
    "width_px",
    "height_px",
    "frame_count",
    "step_count",
    "fps",
    "playback_fps",
    "motion_bucket_id",
    "noise_aug_strength",
    "min_guidance_scale",
    "max_guidance_scale",
    "decode_chunk_size",
    "seed",
)
_FITS = {
    Fit.CROP: pb.RenderParams.CROP,
    Fit.PAD: pb.RenderParams.PAD,
    Fit.STRETCH: pb.RenderParams.STRETCH,
}


_MEMORY = {
    MemoryProfile.AS_STARTED: session_pb.Assign.MEMORY_PROFILE_UNSPECIFIED,
    MemoryProfile.OFFLOAD: session_pb.Assign.OFFLOAD,
    MemoryProfile.SMALLEST: session_pb.Assign.SMALLEST,
}


class WordUnknown(ValueError):
    """A word for one of some choices that is none of them."""

    def __init__(self, field: str, given: str, allowed: Iterable[str]) -> None:
        super().__init__(f"is {given!r}; allowed: {', '.join(allowed)}")
        self.field = field


def params_to_wire(params: RenderParams) -> pb.RenderParams:
    """Every field that is set."""
    message = pb.RenderParams(model=params.model or "")
    for name in _PLAIN:
        value = getattr(params, name)
        if value is not None:
            setattr(message, name, value)
    if params.fit is not None:
        message.fit = _FITS[params.fit]
    if params.codec is not None:
        message.encoding.codec = params.codec
    if params.crf is not None:
        message.encoding.crf = params.crf
    if params.tier is not None:
        message.tier = params.tier
    return message


def _has(message: pb.RenderParams, name: str) -> bool:
    field: Any = name  # the stubs list every field by its literal name
    return message.HasField(field)


def params_from_wire(message: pb.RenderParams) -> RenderParams:
    """Every field that is set. Raises WordUnknown."""
    values = {name: getattr(message, name) for name in _PLAIN if _has(message, name)}
    fits = {wire: fit for fit, wire in _FITS.items()}
    return RenderParams(
        model=message.model or None,
        fit=fits.get(message.fit),
        codec=_word("codec", message.encoding.codec, Codec),
        crf=message.encoding.crf if message.encoding.HasField("crf") else None,
        tier=_word("tier", message.tier, Tier),
        **values,
    )


def _word(field: str, given: str, words: type[W]) -> W | None:
    """None where none was given."""
    try:
        return words(given) if given else None
    except ValueError:
        raise WordUnknown(field, given, words) from None


def model_to_wire(model: ModelInfo) -> pb.Model:
    """A model."""
    return pb.Model(**dataclasses.asdict(model))


def model_from_wire(message: pb.Model) -> ModelInfo:
    """A model."""
    return ModelInfo(
        message.name,
        message.width_px,
        message.height_px,
        message.frame_count,
        message.step_count,
        message.identity,
        tuple(message.tiers),
    )


def memory_to_wire(memory: MemoryProfile) -> session_pb.Assign.MemoryProfile.ValueType:
    """A memory profile."""
    return _MEMORY[memory]


def memory_from_wire(message: session_pb.Assign.MemoryProfile.ValueType) -> MemoryProfile:
    """A memory profile; one of a newer gateway is the smallest that is known here."""
    known = {wire: memory for memory, wire in _MEMORY.items()}
    return known.get(message, MemoryProfile.SMALLEST)


def timestamp(time_s: float | None) -> Timestamp | None:
    """Unix seconds as a timestamp."""
    if time_s is None:
        return None
    message = Timestamp()
    message.FromNanoseconds(round(time_s * 1e6) * 1000)
    return message


def duration(duration_s: float | None) -> Duration | None:
    """Seconds as a duration."""
    if duration_s is None:
        return None
    message = Duration()
    message.FromMicroseconds(round(duration_s * 1e6))
    return message


LOG_LINES = 100  # of an attempt
LOG_BYTES = 16 * 2**10  # of an attempt, as the lines are sent
_LEFT_OUT = "log.left_out"


def bound_log(lines: Sequence[pb.LogLine], left_out: int = 0) -> list[pb.LogLine]:
    """The newest of an attempt's lines, as many as are kept; the first tells how many are not.

    `left_out` are missing already. What was bound before stays as it is.
    """
    if lines and lines[0].event == _LEFT_OUT:
        count = lines[0].fields.get("lines", "")
        left_out += int(count) if count.isdecimal() and len(count) < 10 else 0
        lines = lines[1:]
    kept: list[pb.LogLine] = []
    room_bytes = LOG_BYTES - 64  # for the line that tells
    for line in reversed(lines):
        room_bytes -= line.ByteSize()
        if room_bytes < 0 or len(kept) == LOG_LINES - 1:
            break
        kept.append(line)
    left_out += len(lines) - len(kept)
    if left_out:
        told = pb.LogLine(level="warning", event=_LEFT_OUT, fields={"lines": str(left_out)})
        if kept:
            told.time.CopyFrom(kept[-1].time)
        kept.append(told)
    return kept[::-1]
