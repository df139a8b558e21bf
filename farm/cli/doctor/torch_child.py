"""Run as a program: prints what torch is and can use here, as one JSON object.

In a process of its own, as importing torch or waking a GPU can hang, or end the process.
"""

from __future__ import annotations

import json
from typing import Any


def look() -> dict[str, Any]:
    """What `farm.cli.doctor.torch_build.Torch` holds, as plain values."""
    import torch

    versions = {"CUDA": torch.version.cuda, "ROCm": torch.version.hip}
    built_for = next((f"{kind} {number}" for kind, number in versions.items() if number), None)
    problem = ""
    if built_for is not None:
        try:
            torch.cuda.init()  # type: ignore[no-untyped-call]
        except (AssertionError, RuntimeError) as error:
            problem = str(error)
    count = 0 if problem or built_for is None else torch.cuda.device_count()
    return {
        "version": torch.__version__,
        "built_for": built_for,
        "problem": problem,
        "devices": [_device(number) for number in range(count)],
    }


def _device(number: int) -> dict[str, Any]:
    import torch

    properties = torch.cuda.get_device_properties(number)
    found: dict[str, Any] = {
        "name": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "total_bytes": properties.total_memory,
    }
    try:
        # A kernel that runs: torch may know the device and have no code for it.
        torch.ones(1, device=f"cuda:{number}").add_(1).item()
        free_bytes, _ = torch.cuda.mem_get_info(number)
    except RuntimeError as error:
        return {**found, "free_bytes": None, "problem": str(error)}
    return {**found, "free_bytes": free_bytes, "problem": ""}


if __name__ == "__main__":
    print(json.dumps(look()))  # noqa: T201 - the parent reads it
