"""What the GPU did meanwhile: its clocks, its memory, and when it had nothing to do."""

from __future__ import annotations

import gc
import shutil
import statistics
import subprocess
import threading
from collections.abc import Iterable
from typing import Any, Self

import torch

_FIELDS = {"sm_mhz": "clocks.sm", "watts": "power.draw", "celsius": "temperature.gpu"}


class Clocks:
    """Of the GPU within a with block, once a second, by nvidia-smi where there is one."""

    def __enter__(self) -> Self:
        self.seen: dict[str, Any] = {}
        self._rows: list[list[float]] = []
        self._process: subprocess.Popen[str] | None = None
        if shutil.which("nvidia-smi") and torch.cuda.is_available():
            query = f"--query-gpu={','.join(_FIELDS.values())}"
            command = ["nvidia-smi", "-i", "0", query, "--format=csv,noheader,nounits", "-l", "1"]
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._reader.join()
        self.seen = summarize(self._rows)

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                self._rows.append([float(value) for value in line.split(",")])
            except ValueError:  # [N/A], or a line that was cut off
                continue


def summarize(rows: list[list[float]]) -> dict[str, Any]:
    """Middle, least and most of each column."""
    whole = [row for row in rows if len(row) == len(_FIELDS)]
    return {
        name: {"median": statistics.median(column), "min": min(column), "max": max(column)}
        for name, column in zip(_FIELDS, zip(*whole, strict=True), strict=False)
    }


def busy_within(intervals: Iterable[tuple[float, float]], start: float, end: float) -> float:
    """How much of [start, end] is covered by the intervals, which may overlap."""
    covered, reached = 0.0, start
    for begins, ends in sorted(intervals):
        begins, ends = max(begins, reached), min(ends, end)
        if ends > begins:
            covered += ends - begins
            reached = ends
    return covered


def forget_peak(device: torch.device) -> None:
    """Free what nobody holds, and begin to watch for the peak."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_gib(device: torch.device) -> float | None:
    """The most that tensors took since then; None where no GPU is."""
    if device.type != "cuda":
        return None
    return round(torch.cuda.max_memory_allocated(device) / 2**30, 2)


def reserved_gib(device: torch.device) -> float | None:
    """The same with what the allocator held ready."""
    if device.type != "cuda":
        return None
    return round(torch.cuda.max_memory_reserved(device) / 2**30, 2)
