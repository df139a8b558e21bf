"""What a run comes to: figures, how soon the farm recovered of what, and what was violated."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.check import Run

_KINDS = ("P1", "P2", "P3", "P4", "P5")
_TOLD = 10  # violations of a kind that are told in full


@dataclass
class Report:
    """What was counted, and every promise that was not kept."""

    figures: dict[str, object] = field(default_factory=dict)
    faults: dict[str, tuple[int, list[float]]] = field(default_factory=dict)  # name: n, recovery_s
    violations: list[str] = field(default_factory=list)
    logged: dict[str, int] = field(default_factory=dict)

    def table(self) -> str:
        """For people."""
        lines = [f"{name:<42}{value}" for name, value in self.figures.items()]
        lines.append(f"\n{'fault':<20}{'times':>6}{'recovery p50':>14}{'p95':>8}{'max':>8}  s")
        for name, (n, recovery_s) in sorted(self.faults.items()):
            lines.append(f"{name:<20}{n:>6}" + _spread(recovery_s))
        lines += ["", *(f"logged {n} x {what}" for what, n in self.logged.items())]
        kinds = Counter(violation.partition(":")[0] for violation in self.violations)
        lines += [f"VIOLATED {n} x {kind}" for kind, n in kinds.items()]
        shown: Counter[str] = Counter()
        for violation in self.violations:
            kind = violation.partition(":")[0]
            shown[kind] += 1
            if shown[kind] <= _TOLD:
                lines.append(f"  {violation}")
        return "\n".join([*lines, "" if self.violations else "every promise was kept"])


def figures(run: Run, violations: Iterable[str]) -> dict[str, object]:
    kinds = Counter(violation.partition(":")[0] for violation in violations)
    endings = Counter(row["state"] for row in run.remains.shots.values())
    settled = [event for event in run.events if event["what"] == "settled"]
    thrown = [event for event in run.events if event["what"] == "fault"]
    rendered_s = sum(event.get("took_s", 0.0) for event in run.remains.renders)
    used_s = sum(m.render_s or 0.0 for m in run.remains.moves if m.after == "SUCCEEDED")
    broken = {key: sum(n for kind, n in kinds.items() if kind.startswith(key)) for key in _KINDS}
    return {
        "faults injected": len(thrown),
        "  pairs of them at once": sum(event["at_once"] == 2 for event in thrown) // 2,
        "  gateways dead at a named point": sum(bool(event.get("reached")) for event in run.events),
        "jobs acknowledged": len(run.acknowledged),
        "  of them lost": broken["P1"],
        "  deleted by their owners": len(run.deleted),
        "calls with an unknown outcome": sum(event["what"] == "unknown" for event in run.events),
        "shots": sum(len(event["seeds"]) for event in run.acknowledged.values()),
        "  that succeeded, failed, were cancelled": "{SUCCEEDED}, {FAILED}, {CANCELLED}".format_map(
            defaultdict(int, endings)
        ),
        "  with other than one ending": broken["P2"],
        "torn, lost or orphan artifacts": broken["P3"],
        "  files to collect after crashes": run.remains.stray_files,
        "second jobs for one key": broken["P4"],
        "shots with attempts out of bounds": broken["P5"],
        "stale finishes refused": run.remains.log_events["report.refused"],
        "render seconds, of them wasted": f"{rendered_s:.0f}, {max(0.0, rendered_s - used_s):.0f}",
        "gateway's peak memory, MB": max(
            (e["peak_mb"] for e in run.events if e["what"] == "ended" and "gateway" in e["name"]),
            default=0,
        ),
        "settled within, s": settled[-1]["took_s"] if settled else "never",
    }


def recoveries(run: Run) -> dict[str, tuple[int, list[float]]]:
    """Of each fault: how often, and how long the farm took each time.

    Of a worker's end: until the last shot that it held was taken back or ended. Of all else: from
    when it was healed until the next shot succeeded.
    """
    found: dict[str, tuple[int, list[float]]] = {}
    successes = [move.at for move in run.remains.moves if move.after == "SUCCEEDED"]
    for event in run.events:
        if event["what"] != "healed":
            continue
        if event["name"].startswith("worker"):
            took_s = _until_taken_back(run, event["said"], event["begun"])
        else:
            took_s = next((at - event["at"] for at in successes if at >= event["at"]), None)
        n, recovery_s = found.get(event["name"], (0, []))
        found[event["name"]] = (n + 1, recovery_s + ([] if took_s is None else [took_s]))
    return found


def _until_taken_back(run: Run, worker: str, at: float) -> float | None:
    ends = []
    for moves in run.moves.values():
        before = [move for move in moves if move.at <= at]
        after = [move for move in moves if move.at > at]
        held = before and before[-1].after == "RENDERING" and before[-1].worker == worker
        if held and after:
            ends.append(after[0].at - at)
    return max(ends, default=None)


def _spread(values_s: list[float]) -> str:
    if not values_s:
        return f"{'-':>14}{'-':>8}{'-':>8}"
    ordered = sorted(values_s)
    p95 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    return f"{statistics.median(ordered):>14.2f}{p95:>8.2f}{ordered[-1]:>8.2f}"
