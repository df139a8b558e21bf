"""What both trainings share: a schedule, an average of the weights, and going on after a stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

SAVE_EVERY_S = 120.0
SAY_EVERY = 50
WARM_UP_STEPS = 50
LAST_RATE = 0.02  # of the first
FALL = 0.3


def cosine(share: float) -> float:
    """From 1 to LAST_RATE along half a wave."""
    return LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * share))


def flat_then_falling(share: float) -> float:
    """1, and over the last FALL of the training down to LAST_RATE.

    As long as it is flat, the number of steps can still be changed.
    """
    return min(1.0, LAST_RATE + (1 - LAST_RATE) * (1 - share) / FALL)


@dataclass
class Training:
    """Weights under training, `optimizers` with their rates, and the average kept at the end.

    Step n draws from generators seeded with (seed, n), so that a run which was stopped and goes on
    draws what one that was not would have drawn.
    """

    module: nn.Module
    optimizers: Sequence[torch.optim.Optimizer]
    step_count: int
    checkpoint: Path
    ema_decay: float
    rate_at: Callable[[float], float]  # the share of its rate at a share of the training
    step: int = 0

    def __post_init__(self) -> None:
        self.rates = [group["lr"] for group in self._groups()]
        self.average = {name: value.clone() for name, value in self._weights()}
        if self.checkpoint.is_file():
            state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
            self.module.load_state_dict(state["module"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.average = state["average"]
            self.step = state["step"]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.module.parameters()).device

    def run(self, loss_of: Callable[[int], Tensor], say: Callable[[str], None]) -> None:
        """Take the steps that are left; `loss_of(step)` is the loss of one batch."""
        saved = said = time.monotonic()
        recent: list[float] = []
        for step in range(self.step, self.step_count):
            self._set_rates(step)
            loss = loss_of(step)
            for optimizer in self.optimizers:
                optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self._trained(), 1.0)
            for optimizer in self.optimizers:
                optimizer.step()
            self.step = step + 1
            self._average_in()
            recent.append(loss.item())
            if self.step % SAY_EVERY == 0 or self.step == self.step_count:
                now = time.monotonic()
                pace = (now - said) / len(recent)
                mean, left_min = (
                    sum(recent) / len(recent),
                    (self.step_count - self.step) * pace / 60,
                )
                say(
                    f"step {self.step}/{self.step_count} loss {mean:.4f} {pace:.2f} s a step, "
                    f"{left_min:.0f} min left"
                )
                said, recent = now, []
            if time.monotonic() - saved > SAVE_EVERY_S:
                self.save()
                saved = time.monotonic()
        self.save()

    def save(self) -> None:
        """Write everything that going on needs; a stop while writing leaves the one before."""
        state = {
            "module": self.module.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "average": self.average,
            "step": self.step,
        }
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.checkpoint.with_suffix(".part")
        torch.save(state, unfinished)
        unfinished.replace(self.checkpoint)

    def use_average(self) -> None:
        """Put the averaged weights into the module."""
        self.module.load_state_dict(self.average)

    def _set_rates(self, step: int) -> None:
        share = self.rate_at(step / self.step_count)
        for group, rate in zip(self._groups(), self.rates, strict=True):
            group["lr"] = rate * min(1.0, (step + 1) / WARM_UP_STEPS) * share

    @torch.no_grad()
    def _average_in(self) -> None:
        # An average over the whole run would keep the start; it lengthens with the run instead.
        decay = min(self.ema_decay, (1 + self.step) / (10 + self.step))
        for name, value in self._weights():
            self.average[name].lerp_(value, 1 - decay)

    def _weights(self) -> Iterator[tuple[str, Tensor]]:
        # Buffers too, such as CLIP's position ids, are part of a state; only floats are averaged.
        for name, value in self.module.state_dict().items():
            if value.is_floating_point():
                yield name, value.detach()

    def _trained(self) -> list[Any]:
        return [value for group in self._groups() for value in group["params"]]

    def _groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]
