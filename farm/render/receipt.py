"""The receipt: everything that a clip was made from, kept inside its video."""

from __future__ import annotations

import dataclasses
import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from farm import __version__
from farm.jobs.params import RenderParams

FORMAT = "svdfarm.receipt.v1"

# The packages whose version can change a pixel.
PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "numpy", "pillow", "imageio-ffmpeg")


def build_receipt(
    params: RenderParams, image: bytes, rendered_by: Mapping[str, Any]
) -> dict[str, Any]:
    """The receipt of a clip as plain JSON values.

    `rendered_by` is the engine's own part (`Engine.receipt`): model, engine, dtype, device,
    threads, memory. `image` is the file as it came in, before it was fitted.
    """
    return {
        "format": FORMAT,
        "image_sha256": hashlib.sha256(image).hexdigest(),
        "params": dataclasses.asdict(params),
        **rendered_by,
        "versions": {
            "svdfarm": __version__,
            "python": platform.python_version(),
            **{name: found for name in PACKAGES if (found := _version(name))},
        },
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
