"""Names of shots and of the files that their videos are saved as."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Collection, Mapping

from farm.jobs.codec import Container

OUTPUT_NAME_LIMIT_BYTES = 120
OUTPUT_NAME_DEFAULT = "{shot}.{extension}"
OUTPUT_NAME_FIELDS = frozenset(
    {
        "shot",
        "index",
        "model",
        "seed",
        "width",
        "height",
        "frames",
        "steps",
        "fps",
        "motion_bucket_id",
        "noise_aug_strength",
        "min_guidance_scale",
        "max_guidance_scale",
        "decode_chunk_size",
        "fit",
        "codec",
        "crf",
        "tier",
        "extension",
    }
)
SHOT_NAME_LIMIT = 128
_TOLD_LIMIT = 200
_SHOT_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_SAFE_OUTPUT_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\.([a-z0-9]+)")


class NameInvalid(ValueError):
    """A name that cannot be used; the message says what was given and what is allowed."""


def template_fields(template: str) -> frozenset[str]:
    """The fields that an output name template uses. Raises NameInvalid for any other."""
    used = set()
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise NameInvalid(f"output name {_told(template)}: {error}") from None
    for _, field, spec, conversion in parsed:
        if field is None:
            continue
        if field not in OUTPUT_NAME_FIELDS or spec or conversion:
            allowed = ", ".join(sorted(OUTPUT_NAME_FIELDS))
            raise NameInvalid(
                f"output name {_told(template)} uses {{{field[:_TOLD_LIMIT]}}}; allowed: {allowed}"
            )
        used.add(field)
    return frozenset(used)


def fill_template(template: str, fields: Mapping[str, object], container: Container) -> str:
    """The file name of one shot's video. Raises NameInvalid when it is not a safe file name."""
    template_fields(template)
    name = template.format_map({field: _text(value) for field, value in fields.items()})
    return check_output_name(name, [container])


def check_output_name(name: str, containers: Collection[Container] = tuple(Container)) -> str:
    """`name` itself, if a video may be saved under it in a folder of the user's choice."""
    match = _SAFE_OUTPUT_NAME.fullmatch(name)
    if match is None or match[1] not in containers or len(name.encode()) > OUTPUT_NAME_LIMIT_BYTES:
        endings = " or ".join(f".{container}" for container in containers)
        raise NameInvalid(
            f"output name {_told(name)}; allowed: letters, digits, '.', '_' and '-', not starting "
            f"with '.', ending in {endings}, at most {OUTPUT_NAME_LIMIT_BYTES} bytes"
        )
    return name


def check_shot_name(name: str) -> str:
    """`name` itself, if a shot may be called so."""
    if len(name) > SHOT_NAME_LIMIT or not _SHOT_NAME.fullmatch(name):
        raise NameInvalid(
            f"name {_told(name)}; allowed: letters, digits, '.', '_' and '-', not starting with "
            f"'.', at most {SHOT_NAME_LIMIT} characters"
        )
    return name


def shot_name_from_file(stem: str) -> str:
    """A shot's name made from its image's file name: other characters than safe ones become '-'."""
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-.") or "shot"


def _told(given: str) -> str:
    """What was given, for a message that stays readable."""
    return repr(given if len(given) <= _TOLD_LIMIT else given[:_TOLD_LIMIT] + "...")


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
