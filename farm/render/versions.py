"""The software that renders here, for receipts."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from farm import __version__
from farm.render import ffmpeg

# The packages whose version can change a pixel.
PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "numpy", "pillow", "imageio-ffmpeg")


def versions() -> dict[str, str]:
    """The software here that can change a pixel."""
    return {
        "svdfarm": __version__,
        "python": platform.python_version(),
        "ffmpeg": ffmpeg.version(),
        **{name: found for name in PACKAGES if (found := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
