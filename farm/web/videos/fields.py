"""The fields of POST /v1/videos as the shot that they ask for; strings, too, as multipart has."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from farm.jobs.params import DEFAULTS, RANGES
from farm.web.refusals import Refused, invalid
from svdfarm.v1 import resources_pb2 as pb

WHOLE, NUMBER, TEXT = "integer", "number", "string"


@dataclass(frozen=True)
class Field:
    """One of SVD's own settings: what the wire calls it, and what it is."""

    wire: str
    kind: str


FIELDS: Mapping[str, Field] = {
    "num_frames": Field("frame_count", WHOLE),
    "num_inference_steps": Field("step_count", WHOLE),
    "fps": Field("fps", WHOLE),
    "playback_fps": Field("playback_fps", WHOLE),
    "motion_bucket_id": Field("motion_bucket_id", WHOLE),
    "noise_aug_strength": Field("noise_aug_strength", NUMBER),
    "min_guidance_scale": Field("min_guidance_scale", NUMBER),
    "max_guidance_scale": Field("max_guidance_scale", NUMBER),
    "decode_chunk_size": Field("decode_chunk_size", WHOLE),
    "seed": Field("seed", WHOLE),
    "crf": Field("crf", WHOLE),
    "codec": Field("codec", TEXT),
    "fit": Field("fit", TEXT),
    "tier": Field("tier", TEXT),
    "model": Field("model", TEXT),
}
OTHERS = ("prompt", "size", "seconds")  # input_reference apart
_FITS = {
    "crop": pb.RenderParams.CROP,
    "pad": pb.RenderParams.PAD,
    "stretch": pb.RenderParams.STRETCH,
}
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_NUMBER_CHARS = 40  # more of them are no number that anybody means


def read_params(given: Mapping[str, Any]) -> pb.RenderParams:
    """What to render. Raises Refused for a field that is unknown or out of range."""
    params = pb.RenderParams()
    for name, value in given.items():
        if name not in FIELDS and name not in OTHERS:
            allowed = ", ".join(("input_reference", *OTHERS, *FIELDS))
            raise Refused(
                400,
                f"{name[:60]!r} is no parameter; allowed: {allowed}",
                "unknown_parameter",
                name[:60],
            )
        if name in FIELDS and value is not None and value != "":
            _set(params, name, value)
    if given.get("prompt") is not None and not isinstance(given["prompt"], str):
        raise invalid("prompt", "is no string; allowed: a string, which SVD makes no use of")
    if given.get("size"):
        params.width_px, params.height_px = _read_size(given["size"])
    if given.get("seconds") not in (None, ""):
        _set_seconds(params, given["seconds"])
    return params


def _set(params: pb.RenderParams, name: str, value: Any) -> None:
    field = FIELDS[name]
    if field.kind == TEXT:
        if not isinstance(value, str) or len(value) > 200:
            raise invalid(name, f"is {_told(value)}; allowed: a string")
        if name == "fit":
            if value not in _FITS:
                raise invalid(name, f"is {_told(value)}; allowed: {', '.join(_FITS)}")
            params.fit = _FITS[value]
        elif name == "codec":
            params.encoding.codec = value
        else:
            setattr(params, field.wire, value)
        return
    allowed = RANGES[field.wire]
    number = _number(value)
    if allowed.whole and isinstance(number, float) and number.is_integer():
        number = int(number)
    if number is None or not allowed.admits(number):
        raise invalid(name, f"is {_told(value)}; allowed: {allowed}")
    setattr(params.encoding if name == "crf" else params, field.wire, number)


def _number(value: Any) -> int | float | None:
    """A number, or what a string says of one; None where it is neither."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    if not isinstance(value, str) or len(value) > _NUMBER_CHARS:
        return None
    try:
        return int(value)
    except ValueError:
        pass
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _read_size(value: Any) -> tuple[int, int]:
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise invalid("size", f"is {_told(value)}; allowed: WIDTHxHEIGHT, such as 1024x576")
    sides = int(match[1]), int(match[2])
    if not all(RANGES["width_px"].admits(side) for side in sides):
        raise invalid("size", f"is {_told(value)}; allowed: each side {RANGES['width_px']}")
    return sides


def _set_seconds(params: pb.RenderParams, value: Any) -> None:
    """`seconds` says how many frames there are, at the rate that the video plays at."""
    fps = params.playback_fps or params.fps or DEFAULTS.fps or 1
    frame_count = _frame_count(value, fps)
    if frame_count is None:
        raise invalid(
            "seconds",
            f"is {_told(value)}, at {fps} frames a second; allowed: a number that makes "
            f"{RANGES['frame_count']} of them. num_frames says the same more simply",
        )
    if params.HasField("frame_count") and params.frame_count != frame_count:
        raise invalid(
            "seconds",
            f"is {_told(value)}, at {fps} frames a second {frame_count} frames, and num_frames is "
            f"{params.frame_count}; give one of them",
        )
    params.frame_count = frame_count


def _frame_count(value: Any, fps: int) -> int | None:
    """None where it is no whole number in the range: 1e999999 is read, and never written out."""
    text = str(value)
    if isinstance(value, bool) or len(text) > _NUMBER_CHARS:
        return None
    allowed = RANGES["frame_count"]
    try:
        seconds = Decimal(text)
        if not seconds.is_finite() or not 0 <= seconds <= allowed.high:
            return None
        frames = seconds * fps
        if frames != frames.to_integral_value() or not allowed.admits(int(frames)):
            return None
    except ArithmeticError:
        return None
    return int(frames)


def _told(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
