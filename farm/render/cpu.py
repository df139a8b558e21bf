"""How a worker without a GPU uses its machine: its share of the cores, and memory kept warm."""

from __future__ import annotations

import ctypes

import torch

# glibc's mallopt parameters (malloc.h).
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
INT_MAX = 2**31 - 1


def use_threads(thread_count: int) -> None:
    """Let torch run each operation on `thread_count` cores, in this whole process.

    The number is part of a clip's identity: sums split over more threads round differently.
    """
    torch.set_num_threads(thread_count)


def keep_freed_memory() -> bool:
    """Have this process keep the memory that it frees, for its next tensors; True if it will.

    glibc gives large blocks back at once, and the kernel clears them anew for every operation:
    that was half the time of a clip of `tiny` on two cores (3.3 s, 1.8 s with this). The price is
    that the process stays as large as its largest clip made it. False where there is no glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_TRIM_THRESHOLD, INT_MAX)) and bool(mallopt(M_MMAP_MAX, 0))
