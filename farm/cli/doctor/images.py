"""Whether images are decoded where they can do no harm."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from farm.cli.doctor.check import Check, fail, ok, warn
from farm.render.errors import SandboxUnavailable
from farm.render.sandbox.pool import POOL
from farm.render.sandbox.wire import CPU_S, FILTER, MEMORY_BYTES

_LIMITS = f"{MEMORY_BYTES >> 30} GiB, {CPU_S} s"


def judge_images(missing: Sequence[str]) -> Check:
    """Is everything taken away from what decodes them? The filter alone denies network, too."""
    if not missing:
        found = f"decoded in processes without files, network or rights ({_LIMITS})"
        return ok("images", found)
    found = f"decoded in processes of their own ({_LIMITS}), but without {'; '.join(missing)}"
    if not any(layer.startswith(FILTER) for layer in missing):
        return ok("images", f"{found}; the filter of system calls holds")
    advice = "Allow the farm seccomp filters, where images come from strangers."
    return warn("images", found, advice)


def check_images() -> list[Check]:
    """The check of images. Raises ModuleNotFoundError where Pillow is not installed."""
    if importlib.util.find_spec("PIL") is None:
        raise ModuleNotFoundError("PIL")
    try:
        return [judge_images(POOL.missing())]
    except SandboxUnavailable as error:
        advice = "Look whether this machine lets programs start others, and has memory for them."
        return [fail("images", str(error).split(" See ")[0].rstrip("."), advice)]
