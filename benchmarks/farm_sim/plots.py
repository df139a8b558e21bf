"""The plots of docs/SCALING.md, from the files in benchmarks/results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

_INK, _BLUE, _RED, _GREY, _GREEN = "#1f2328", "#0969da", "#cf222e", "#8c959f", "#1a7f37"
_AIM = 0.98


def draw(results: Path, images: Path) -> None:
    """Draws every plot anew."""
    plt.rcParams.update(
        {
            "font.size": 11,
            "text.color": _INK,
            "axes.edgecolor": _GREY,
            "axes.labelcolor": _INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "figure.facecolor": "white",
            "svg.hashsalt": "svdfarm",
            "svg.fonttype": "path",
        }
    )
    virtual = json.loads((results / "sim-virtual.json").read_text())
    load = json.loads((results / "sim-load.json").read_text())
    store = json.loads((results / "sim-store.json").read_text())
    _save(_utilisation(virtual), images / "scaling-utilisation.svg")
    _save(_costs(load), images / "scaling-cost.svg")
    _save(_groups(store), images / "scaling-groups.svg")
    shared = _first(virtual, "5000 workers, ")
    if shared is not None:
        _save(_fairness(shared), images / "scaling-fairness.svg")


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _utilisation(virtual: dict[str, Any]) -> Any:
    swept = sorted(
        (each for name, each in virtual.items() if name.endswith("workers")),
        key=lambda each: each["workers"],
    )
    workers = [each["workers"] for each in swept]
    figure, (above, below) = plt.subplots(2, 1, figsize=(7.5, 6), sharex=True)
    above.plot(workers, [100 * each["utilisation"] for each in swept], "o-", color=_BLUE)
    above.axhline(100 * _AIM, color=_RED, linewidth=1, linestyle="--")
    above.annotate("aim: 98 %", (workers[0], 97.8), color=_RED, va="top")
    above.set_ylabel("GPU time rendering, %")
    above.set_ylim(min(90, 100 * min(each["utilisation"] for each in swept)) - 1, 101)
    below.plot(workers, [each["gateway_busy"] for each in swept], "o-", color=_BLUE)
    below.plot(workers, [each["writer_busy"] for each in swept], "s-", color=_GREEN)
    last = swept[-1]
    below.annotate(
        "gateway's Python",
        (workers[-1], last["gateway_busy"]),
        color=_BLUE,
        ha="right",
        xytext=(-6, -14),
        textcoords="offset points",
    )
    below.annotate(
        "writer's transactions",
        (workers[-1], last["writer_busy"]),
        color=_GREEN,
        ha="right",
        xytext=(-6, 8),
        textcoords="offset points",
    )
    below.set_ylim(0, 1.15)
    below.set_ylabel("share of the time busy")
    below.set_xlabel(
        f"GPUs, each rendering clips of {swept[0]['clip_s']:g} s; one gateway, PostgreSQL"
    )
    return figure


def _costs(load: dict[str, Any]) -> Any:
    """Processor time of a shot, before and now."""
    figure, axes = plt.subplots(figsize=(7.5, 3))
    rows = [(name, each) for name, each in load.items() if "postgresql" in name]
    for number, (_, each) in enumerate(reversed(rows)):
        busy = each["busy"]
        axes.barh(number, busy["gateway_ms_per_shot"], color=_BLUE, height=0.55)
        axes.barh(
            number,
            busy["database_ms_per_shot"],
            left=busy["gateway_ms_per_shot"],
            color=_GREEN,
            height=0.55,
        )
        axes.annotate(
            f"{busy['gateway_ms_per_shot']:.1f} + {busy['database_ms_per_shot']:.1f}",
            (busy["gateway_ms_per_shot"] + busy["database_ms_per_shot"], number),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_yticks(range(len(rows)), [name.replace("postgresql, ", "") for name, _ in rows[::-1]])
    axes.set_xlabel("processor ms a shot: gateway (blue), PostgreSQL (green)")
    axes.margins(x=0.15)
    return figure


def _groups(store: dict[str, Any]) -> Any:
    figure, axes = plt.subplots(figsize=(7.5, 3.4))
    for style, label in (("--", "before"), ("-", "now")):
        each = _first(store, f"{label}, postgresql")
        if each is None:
            continue
        for kind, colour in (("claim", _BLUE), ("record", _GREEN), ("start", _GREY)):
            sizes = [int(size) for size in each[kind]]
            spent = [each[kind][str(size)]["cpu_ms"] / size for size in sizes]
            axes.plot(sizes, spent, f"o{style}", color=colour, label=f"{kind}, {label}")
    axes.set_xscale("log", base=4)
    axes.set_xticks([1, 4, 16, 64], ["1", "4", "16", "64"])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("shots in one transaction")
    axes.set_ylabel("gateway ms for each")
    axes.legend(frameon=False, ncols=2)
    return figure


def _fairness(each: dict[str, Any]) -> Any:
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3.2))
    _shares(left, each)
    waits = each["queue_wait_s"]
    for number, wait in enumerate(reversed(waits.values())):
        right.barh(number, wait["p50"], color=_BLUE, height=0.5)
        right.plot([wait["p50"], wait["max"]], [number, number], color=_GREY)
    right.set_yticks(range(len(waits)), list(reversed(waits)))
    right.set_xlabel("wait, s (line: the longest)")
    return figure


def _shares(axes: Axes, each: dict[str, Any]) -> None:
    for (name, shares), colour in zip(each["served"].items(), (_BLUE, _GREEN, _RED), strict=False):
        axes.plot(each["served_at_s"], shares, color=colour)
        axes.annotate(
            name,
            (each["served_at_s"][-1], shares[-1]),
            color=colour,
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_xlabel("virtual seconds")
    axes.set_ylabel("share of the shots given out")
    axes.set_ylim(0, 0.6)


def _first(told: dict[str, Any], prefix: str) -> dict[str, Any] | None:
    return next((each for name, each in told.items() if name.startswith(prefix)), None)
