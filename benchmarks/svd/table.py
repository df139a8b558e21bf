"""The figures as tables, in Markdown; what nobody measured says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

UNMEASURED = "unmeasured"
RUNNERS = ("eager", "recipe", "ours")


def speed_table(figures: Mapping[str, Any]) -> str:
    """One row each of eager, the guide's recipe and ours."""
    head = (
        "",
        "period, s",
        "lone clip, s",
        "encode, ms",
        "step, ms",
        "decode, ms",
        "video encode, ms",
        "peak, GiB",
        "TFLOP/s",
        "x floor",
    )
    rows = []
    for name in RUNNERS:
        stages = [find(figures, "stage_ms", name, stage) for stage in ("encode", "decode", "video")]
        rows.append(
            [
                name,
                show(find(figures, "clip_s", name), "{:.2f}"),
                show(find(figures, "lone_s", name), "{:.2f}"),
                show(stages[0], "{:.0f}"),
                show(find(figures, "step_ms", name), "{:.1f}"),
                show(stages[1], "{:.0f}"),
                show(stages[2], "{:.0f}"),
                show(find(figures, "peak_gib", name), "{:.1f}"),
                show(
                    ratio(find(figures, "tflop", "clip"), find(figures, "clip_s", name)), "{:.2f}"
                ),
                show(ratio(find(figures, "clip_s", name), find(figures, "floor_s")), "{:.2f}"),
            ]
        )
    return markdown(head, rows)


def target_table(figures: Mapping[str, Any]) -> str:
    """Issue by issue what must be, what is aimed at, and what is."""
    ours = find(figures, "clip_s", "ours")
    profiles = {name: find(figures, "profiles", name) or {} for name in ("fast", "balanced", "low")}
    idle = find(figures, "idle_fraction")
    rows = [
        ("period against eager", "≥ 1.5", "≥ 2.0", _ratio_of(figures, "eager")),
        ("period against the recipe", "≥ 1.25", "≥ 1.6", _ratio_of(figures, "recipe")),
        ("period against the floor", "≤ 1.6", "≤ 1.4", ratio(ours, find(figures, "floor_s"))),
        (
            "error against eager's",
            "≤ 1.05",
            "0.5",
            ratio(find(figures, "error", "ours"), find(figures, "error", "eager")),
        ),
        (
            "GPU idle between clips, % of a clip",
            "< 1",
            "0.2",
            None if idle is None else 100 * idle,
        ),
        ("start, compiled before, to the first step, s", "< 60", "< 30", find(figures, "start_s")),
        (
            "`low` held to 8 GiB, time against `fast`",
            "passes",
            "≤ 1.5",
            _profile(profiles["low"], profiles["fast"]),
        ),
        (
            "`balanced` held to 22 GiB, time against `fast`",
            "passes",
            "1.0",
            _profile(profiles["balanced"], profiles["fast"]),
        ),
    ]
    shown = [
        [name, must, aim, found if isinstance(found, str) else show(found, "{:.2f}")]
        for name, must, aim, found in rows
    ]
    return markdown(("target", "must", "aim", "measured"), shown)


def _ratio_of(figures: Mapping[str, Any], name: str) -> float | None:
    return ratio(find(figures, "clip_s", name), find(figures, "clip_s", "ours"))


def _profile(figures: Mapping[str, Any], fast: Mapping[str, Any]) -> float | str | None:
    if failed := figures.get("failed"):
        return f"fails: {failed}"
    if figures.get("held_to_gib") is None:
        return None
    return ratio(figures.get("clip_s"), fast.get("clip_s"))


def find(figures: Mapping[str, Any], *path: str) -> Any:
    """The figure there, or None."""
    found: Any = figures
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def ratio(above: float | None, below: float | None) -> float | None:
    """None unless both were measured."""
    return above / below if above is not None and below else None


def show(value: float | None, how: str) -> str:
    form: Callable[[float], str] = how.format
    return UNMEASURED if value is None else form(value)


def markdown(head: tuple[str, ...], rows: list[list[str]]) -> str:
    lines = [list(head), ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
