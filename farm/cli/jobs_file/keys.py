"""The keys of a jobs.yaml: one table for the reader, its messages and the JSON Schema."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from farm.jobs.codec import Codec
from farm.jobs.params import CRF_DEFAULTS, Fit
from farm.jobs.tiers import Tier


class Kind(enum.Enum):
    """How a value is written."""

    WHOLE = "a whole number"
    NUMBER = "a number"
    TEXT = "text"
    SIZE = 'WIDTHxHEIGHT, such as "1024x576"'
    CHOICE = "one of some words"


@dataclass(frozen=True)
class Key:
    """A setting of a clip: how people write it, and the fields of RenderParams that it sets."""

    name: str
    kind: Kind
    fields: tuple[str, ...]
    about: str
    choices: tuple[str, ...] = ()


PARAM_KEYS: Mapping[str, Key] = {
    key.name: key
    for key in (
        Key("model", Kind.TEXT, ("model",), "svd, svd-xt, nano, tiny, or a name the farm knows."),
        Key("size", Kind.SIZE, ("width_px", "height_px"), "Default: the model's own."),
        Key("fit", Kind.CHOICE, ("fit",), "How another shape meets size.", tuple(Fit)),
        Key("frames", Kind.WHOLE, ("frame_count",), "Default: the model's own."),
        Key("steps", Kind.WHOLE, ("step_count",), "Denoising steps."),
        Key("fps", Kind.WHOLE, ("fps",), "Conditions the motion."),
        Key("playback_fps", Kind.WHOLE, ("playback_fps",), "Default: fps."),
        Key("motion_bucket_id", Kind.WHOLE, ("motion_bucket_id",), "More is more motion."),
        Key(
            "noise_aug_strength",
            Kind.NUMBER,
            ("noise_aug_strength",),
            "Noise added to the image; more is further from it.",
        ),
        Key(
            "min_guidance_scale",
            Kind.NUMBER,
            ("min_guidance_scale",),
            "Guidance of the first frame; at most max_guidance_scale.",
        ),
        Key("max_guidance_scale", Kind.NUMBER, ("max_guidance_scale",), "Of the last frame."),
        Key(
            "decode_chunk_size",
            Kind.WHOLE,
            ("decode_chunk_size",),
            "Frames decoded at a time; unset: all together. Changes pixels a little.",
        ),
        Key("seed", Kind.WHOLE, ("seed",), "Unset: drawn by the farm and reported."),
        Key(
            "tier",
            Kind.CHOICE,
            ("tier",),
            "fast leaves much of the arithmetic out and changes pixels. Default: exact.",
            tuple(Tier),
        ),
    )
}
ENCODING_KEYS: Mapping[str, Key] = {
    key.name: key
    for key in (
        Key(
            "codec",
            Kind.CHOICE,
            ("codec",),
            "h264 plays everywhere; png is a zip of pictures. docs/CODECS.md tells them apart.",
            tuple(Codec),
        ),
        Key(
            "crf",
            Kind.WHOLE,
            ("crf",),
            "Less is better and larger. Default: "
            + ", ".join(f"{crf} for {codec}" for codec, crf in CRF_DEFAULTS.items())
            + "; the others have one quality.",
        ),
    )
}
# The key under which people find each field of the wire.
KEY_OF_FIELD: Mapping[str, str] = {
    field: key.name
    for keys in (PARAM_KEYS, ENCODING_KEYS)
    for key in keys.values()
    for field in key.fields
}

JOB_KEYS = ("name", "priority", "webhook", "defaults", "output", "shots")
OUTPUT_KEYS = ("dir", "name", *ENCODING_KEYS)
SHOT_KEYS = ("name", "image", *PARAM_KEYS, "sweep", "combine")
COMBINE_CHOICES = ("product", "zip")
NAME_LIMIT = 128
PRIORITY_LIMIT = 100

# What people write who come from diffusers, the wire or another tool.
OTHER_WORDS: Mapping[str, str] = {
    "num_frames": "frames",
    "frame_count": "frames",
    "num_inference_steps": "steps",
    "step_count": "steps",
    "width": "size",
    "height": "size",
    "width_px": "size",
    "height_px": "size",
    "resolution": "size",
    "guidance_scale": "max_guidance_scale",
    "motion": "motion_bucket_id",
    "noise": "noise_aug_strength",
    "images": "image",
    "path": "image",
    "input": "image",
    "checkpoint": "model",
    "jobs": "shots",
    "tasks": "shots",
    "default": "defaults",
    "out": "output",
    "outputs": "output",
}
