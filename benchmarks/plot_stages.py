"""Draws where a clip's time goes, stage by stage, from the figures of bench_engine.

    pip install matplotlib
    python -m benchmarks.plot_stages benchmarks/results/engine-cpu.json docs/images/stages-cpu.svg

A bar each of eager, the guide's recipe and ours, for each model that the file has; what was not
measured has none. Ours encodes a video beside the next clip, so that stage is drawn apart.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.svd.table import RUNNERS, find

COLOURS = {"encode": "#8fb8de", "steps": "#2b5c8a", "decode": "#e08e45", "video": "#bdbdbd"}
_BESIDE = "video"


def main() -> int:
    """Returns the exit code."""
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 1
    figures = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    draw(list(bars(figures)), figures["gpu"], Path(sys.argv[2]))
    return 0


def bars(figures: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, float]]]:
    """What each bar is of, and the seconds of its stages, in order."""
    for part in (figures, *(found for found in figures.values() if _is_model(found))):
        work = part["work"]
        for runner in RUNNERS:
            stages = find(part, "stage_ms", runner)
            step_ms = find(part, "step_ms", runner)
            if stages is None or step_ms is None:
                continue
            told_ms = {
                "encode": stages["encode"],
                "steps": step_ms * work["step_count"],
                "decode": stages["decode"],
                _BESIDE: stages["video"],
            }
            title = f"{runner}\n{work['model']} {work['size']}x{work['frame_count']}"
            yield title, {stage: spent / 1000 for stage, spent in told_ms.items()}


def _is_model(found: object) -> bool:
    return isinstance(found, Mapping) and "work" in found


def draw(rows: list[tuple[str, dict[str, float]]], gpu: str, path: Path) -> None:
    """Horizontal bars, the first on top, as SVG or whatever the path's ending says."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.2 + 0.6 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, (_, stages) in enumerate(rows):
        start = 0.0
        for stage, seconds in stages.items():
            look = {"hatch": "///", "alpha": 0.6} if stage == _BESIDE else {}
            label = stage if place == 0 else None
            axes.barh(place, seconds, left=start, color=COLOURS[stage], label=label, **look)
            start += seconds
        axes.text(start, place, f" {start - stages[_BESIDE]:.2f} s", va="center")
    axes.set_yticks(range(len(rows)), [title for title, _ in rows])
    axes.invert_yaxis()
    axes.set_xlabel("seconds of a lone clip; ours encodes its video beside the next one")
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(gpu)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


if __name__ == "__main__":
    raise SystemExit(main())
