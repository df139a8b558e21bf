"""A mode in which one receipt gives one clip, bit for bit, on one device with the same versions.

On a CPU frames are equal anyway as long as the number of threads is. On a GPU libraries choose
among kernels by timing them, and some kernels add in the order in which their threads come by.
"""

from __future__ import annotations

import os
from typing import Any

import torch

# Of cuBLAS (its manual, "Results reproducibility"): products that run side by side share no
# workspace. It is read when CUDA is first used.
_CUBLAS = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def use_determinism(wanted: bool) -> None:
    """For this whole process, from now on; for cuBLAS it counts only before CUDA is used.

    An operation that has no deterministic kernel then fails (torch's manual, "Reproducibility"),
    which the first clip of a worker would show.
    """
    if wanted:
        os.environ.setdefault(*_CUBLAS)
    torch.use_deterministic_algorithms(wanted)
    # Ours never reads what it has not written; without this torch fills each new tensor first.
    deterministic: Any = torch.utils.deterministic
    deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = wanted


def is_deterministic() -> bool:
    """Whether this process is in that mode."""
    return torch.are_deterministic_algorithms_enabled()
