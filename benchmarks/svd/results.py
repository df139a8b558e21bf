"""The figures: one file for each GPU, filled by as many runs as it takes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Results:
    """The file of a GPU in a folder; every figure is in it as soon as it is known."""

    def __init__(self, folder: Path, gpu: str) -> None:
        self.path = folder / f"engine-{file_name(gpu)}.json"
        self.figures: dict[str, Any] = {}
        if self.path.exists():
            self.figures = json.loads(self.path.read_text(encoding="utf-8"))

    def begin(self, **told: Any) -> None:
        """A new run, and what is true of all that it measures."""
        keep = {name: told[name] for name in ("gpu", "versions", "commit", "command")}
        self.figures.setdefault("runs", []).append(told | {"left_out": []})
        self.add(keep, quiet=True)

    def add(self, figures: Mapping[str, Any], quiet: bool = False) -> None:
        """Over what was there, printed and written at once."""
        merge(self.figures, figures)
        if not quiet:
            for name, value in flatten(figures):
                print(f"{name:48} {value}", flush=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".partial")
        unfinished.write_text(json.dumps(self.figures, indent=2) + "\n", encoding="utf-8")
        unfinished.replace(self.path)

    def of_run(self, **figures: Any) -> None:
        """Facts of this run alone."""
        merge(self.figures["runs"][-1], figures)
        self.add({}, quiet=True)

    def leave_out(self, what: str, because: str) -> None:
        """Say what this run did not measure."""
        self.figures["runs"][-1]["left_out"].append(f"{what}: {because}")
        print(f"left out: {what}: {because}", flush=True)
        self.add({}, quiet=True)


def merge(into: dict[str, Any], new: Mapping[str, Any]) -> None:
    """Figures over those of earlier runs; what the new run did not measure stays."""
    for name, value in new.items():
        if isinstance(value, Mapping) and isinstance(into.get(name), dict):
            merge(into[name], value)
        else:
            into[name] = value


def flatten(figures: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """(dotted name, value) of all figures."""
    found: list[tuple[str, Any]] = []
    for name, value in figures.items():
        if isinstance(value, Mapping):
            found += flatten(value, f"{before}{name}.")
        else:
            found.append((before + name, value))
    return found


def file_name(gpu: str) -> str:
    """A GPU's name in lower case with dashes."""
    return re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-")
