"""The form of the page as the shots of a job: each image with each combination of settings."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping

from farm.web.refusals import Refused, invalid
from farm.web.videos.fields import FIELDS, read_params
from svdfarm.v1 import resources_pb2 as pb

SWEPT = ("seed", "motion_bucket_id", "noise_aug_strength")  # a list of values makes a sweep
_PLAIN = ("model", "size", "num_frames", "num_inference_steps", "fps", "fit", "tier")
_SHOT_LIMIT = 200
_VALUE = re.compile(r"[^\s,]+")


def read_settings(form: Mapping[str, str]) -> list[pb.RenderParams]:
    """One for each combination of what is given. Raises Refused."""
    plain = {name: form[name].strip() for name in _PLAIN if form.get(name, "").strip()}
    swept: dict[str, list[str]] = {}
    count = 1
    for name in SWEPT:
        if form.get(name, "").strip():
            # One more than is allowed is enough to refuse it, however many there are.
            swept[name] = list(itertools.islice(_values(form[name]), _SHOT_LIMIT + 1))
            count *= len(swept[name])
        if count > _SHOT_LIMIT:
            raise Refused(
                400,
                f"that is {count} clips of each image, or more; allowed: {_SHOT_LIMIT}. "
                "`farm submit` takes 10,000",
                "too_many",
            )
    return [
        read_params({**plain, **dict(zip(swept, values, strict=True))})
        for values in itertools.product(*swept.values())
    ]


def _values(text: str) -> Iterator[str]:
    """`1, 5, 7-9` is 1, 5, 7, 8, 9."""
    for match in _VALUE.finditer(text):
        part = match[0]
        first, dash, last = part.partition("-")
        if dash and first.isdecimal() and last.isdecimal() and len(last) < 10:
            if int(last) - int(first) >= _SHOT_LIMIT or int(last) < int(first):
                raise invalid("range", f"is {part!r}; allowed: up to {_SHOT_LIMIT}, upwards")
            yield from map(str, range(int(first), int(last) + 1))
        else:
            yield part


def differing(shots: list[pb.Shot]) -> list[tuple[str, list[str]]]:
    """The settings in which shots differ: each one's name, and its value in each of them."""
    told = []
    for name, field in FIELDS.items():
        if name in ("crf", "codec", "fit"):
            continue
        values = [
            f"{value:g}"
            if isinstance(value := getattr(shot.params, field.wire), float)
            else str(value)
            for shot in shots
        ]
        if len(set(values)) > 1:
            told.append((name, values))
    return told
