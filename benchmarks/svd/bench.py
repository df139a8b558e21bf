"""What every part of the benchmark is given: the work, its pictures, the time, the results."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.svd.architecture import Work
from benchmarks.svd.results import Results


@dataclass
class Budget:
    """Seconds that a run may take."""

    total_s: float
    started: float = field(default_factory=time.monotonic)

    @property
    def left_s(self) -> float:
        return self.total_s - (time.monotonic() - self.started)


@dataclass
class Bench:
    """One run over one model."""

    work: Work
    results: Results
    budget: Budget
    scratch: Path
    under: tuple[str, ...]  # where in the file its figures are

    def add(self, **figures: Any) -> None:
        """Figures of this model."""
        nested: Mapping[str, Any] = figures
        for name in reversed(self.under):
            nested = {name: nested}
        self.results.add(nested)

    def has_time(self, needed_s: float, what: str) -> bool:
        """Whether there is; if not, the file says that it was left out."""
        left = self.budget.left_s
        if left >= needed_s:
            return True
        self.leave_out(what, f"{left:.0f} s were left, about {needed_s:.0f} s needed")
        return False

    def leave_out(self, what: str, because: str) -> None:
        self.results.leave_out(".".join((*self.under, what)), because)

    @property
    def figures(self) -> Any:
        """All that is known of this model."""
        found = self.results.figures
        for name in self.under:
            found = found.setdefault(name, {})
        return found

    def picture(self, seed: int) -> Image.Image:
        """Smooth colours and grain, of the video's size, another one for each seed."""
        width, height = self.work.info.width_px, self.work.info.height_px
        drawn = np.random.default_rng(seed)
        coarse = Image.fromarray(drawn.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32)
        grain = drawn.normal(0, 4, (height, width, 3))
        return Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8))

    def path(self, name: str) -> Path:
        """Of a video."""
        return self.scratch / f"{name}.mp4"
