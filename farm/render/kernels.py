"""Which of torch's attention kernels is the fastest correct one for each shape: found by measuring.

torch prefers its kernels in one order for all shapes and devices. Which is the fastest depends on
how many tokens there are, how they lie in memory, and on the GPU.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import statistics
import time
import warnings
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

log = logging.getLogger(__name__)

CHOICES = ("auto", "measured", "torch")  # auto: measured on a GPU, unless it shall be deterministic
FILE = "attention.json"

_KERNELS = (
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
)
# The most that a kernel may be off, in parts of the largest value: some roundings of each type.
_BOUNDS = {
    torch.float64: 1e-12,
    torch.float32: 1e-5,
    torch.float16: 2e-3,
    torch.bfloat16: 1.6e-2,
}
_ROUNDS = 3
_SAMPLED_QUERIES = 64
_SCORES_LIMIT = 2**26  # the plain kernel writes all scores down, others none

Layout = tuple[int, ...]  # the queries' sizes, then their strides


class Kernels:
    """The kernels of one device and dtype, remembered in a file of `folder` for the next process.

    A layout is measured where it is first met uncompiled; compiled code takes what is known then.
    """

    def __init__(self, device: str, dtype: torch.dtype, folder: Path | None) -> None:
        self._chosen: dict[Layout, SDPBackend] = {}
        self._file = None if folder is None else folder / FILE
        self._section = "|".join(
            map(str, (device, dtype, torch.__version__, torch.backends.cudnn.version()))  # type: ignore[no-untyped-call]
        )
        for name, kernel in self._read().get(self._section, {}).items():
            if kernel in SDPBackend.__members__:
                self._chosen[_layout_named(name)] = SDPBackend.__members__[kernel]

    @property
    def chosen(self) -> dict[str, str]:
        """By layout: the kernel's name."""
        return {_name(layout): kernel.name for layout, kernel in self._chosen.items()}

    def attend(self, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        """Attention of (batch, head, position, width); the same shape."""
        layout = (*q.shape, *q.stride())
        if not torch.compiler.is_compiling() and layout not in self._chosen:
            kernel = fastest(q, k, v, scale)
            if kernel is not None:  # else torch's own choice, and the next clip measures again
                self._chosen[layout] = kernel
                self._remember(layout)
        kernel = self._chosen.get(layout)
        if kernel is None:
            return scaled_dot_product_attention(q, k, v, scale=scale)
        with sdpa_kernel(kernel):
            return scaled_dot_product_attention(q, k, v, scale=scale)

    def _read(self) -> dict[str, dict[str, str]]:
        if self._file is None:
            return {}
        try:
            known = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        whole = isinstance(known, dict) and all(isinstance(v, dict) for v in known.values())
        return known if whole else {}

    def _remember(self, layout: Layout) -> None:
        """Several workers may write at once: the last one's stay, the others' are found again."""
        kernel = self._chosen[layout].name
        log.info("attention.measured", extra={"layout": _name(layout), "kernel": kernel})
        if self._file is None:
            return
        known = self._read()
        known.setdefault(self._section, {})[_name(layout)] = kernel
        partial = self._file.with_name(f".{FILE}.{os.getpid()}.partial")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(known, indent=1, sort_keys=True), encoding="utf-8")
            partial.replace(self._file)
        except OSError as error:  # the next start measures again
            log.warning("attention.not_kept", extra={"path": str(self._file), "error": str(error)})
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)


def fastest(q: Tensor, k: Tensor, v: Tensor, scale: float) -> SDPBackend | None:
    """Of the kernels that take these and are right, the one that took the least time.

    None where there was none, as when memory is short.
    """
    taken: dict[SDPBackend, float] = {}
    for kernel in _KERNELS:
        score_count = q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2]
        if kernel is SDPBackend.MATH and taken and score_count > _SCORES_LIMIT:
            continue
        try:
            if is_right(attend_by(kernel, q, k, v, scale), q, k, v, scale):
                taken[kernel] = _seconds(kernel, q, k, v, scale)
        except RuntimeError:  # it is for other shapes, types or devices, or out of memory
            continue
    return min(taken, key=taken.__getitem__, default=None)


def attend_by(kernel: SDPBackend, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Raises RuntimeError where the kernel cannot."""
    with warnings.catch_warnings(), sdpa_kernel(kernel):
        warnings.simplefilter("ignore")  # torch warns of each reason why it cannot
        return scaled_dot_product_attention(q, k, v, scale=scale)


def is_right(found: Tensor, q: Tensor, k: Tensor, v: Tensor, scale: float) -> bool:
    """Whether it is attention: some queries of the first and last sequence, against float64."""

    def sample(x: Tensor) -> Tensor:
        return x[:: max(1, x.shape[0] - 1), :: max(1, x.shape[1] - 1)]

    every = max(1, q.shape[2] // _SAMPLED_QUERIES)
    queries, keys, values = (
        sample(q)[:, :, ::every].double(),
        sample(k).double(),
        sample(v).double(),
    )
    expected = torch.softmax(queries @ keys.transpose(-1, -2) * scale, dim=-1) @ values
    off = (sample(found)[:, :, ::every].double() - expected).abs().max()
    return bool(off <= _BOUNDS[q.dtype] * values.abs().max())  # NaN is not


def _seconds(kernel: SDPBackend, q: Tensor, k: Tensor, v: Tensor, scale: float) -> float:
    spent = []
    for _ in range(_ROUNDS):
        _wait(q.device)
        started = time.perf_counter()
        attend_by(kernel, q, k, v, scale)
        _wait(q.device)
        spent.append(time.perf_counter() - started)
    return statistics.median(spent)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _name(layout: Layout) -> str:
    return ",".join(map(str, layout))


def _layout_named(name: str) -> Layout:
    return tuple(int(number) for number in name.split(",") if number.isdecimal())
