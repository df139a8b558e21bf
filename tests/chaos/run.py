"""One run: a farm, a load, faults; then everything settles, stops and is checked."""

from __future__ import annotations

import shutil
from pathlib import Path

from svdfarm import SvdfarmError
from tests.chaos import inject, load, site
from tests.chaos.check import check
from tests.chaos.remains import gather
from tests.chaos.site import Plan, Site
from tests.chaos.table import Report

_SETTLE_S = 120.0
_BACK_S = 30.0


def run(plan: Plan, folder: Path) -> Report:
    """Runs a plan; its history and logs stay in `folder`, which is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with site.prepared(plan, folder) as farm:
        with site.running(farm):
            with load.held(farm) as held:
                inject.inject(farm)
            try:
                _settle(farm, held)
            except SvdfarmError as error:
                farm.history.tell("harness", error=f"the farm never settled: {error!r}")
        report = check(gather(farm))
    missing = set(plan.faults or plan.counts or inject.NAMES) - {
        f.__name__ for f in inject.staged(farm)
    }
    report.figures["not staged here"] = ", ".join(sorted(missing)) or "nothing"
    return report


def _settle(farm: Site, held: load.Load) -> None:
    """Lets everything end, gives every worker something to do, and notes what does not."""
    took_s, unsettled = load.settle(farm, _SETTLE_S)
    stuck = [] if unsettled else held.leave()
    farm.history.tell(
        "settled",
        took_s=took_s,
        unsettled={job.name: job.state for job in unsettled},
        stuck=stuck,
    )
    for program in [*farm.gateways, *farm.workers]:
        if not program.ready.wait(_BACK_S):
            farm.history.tell("away", name=program.name, for_s=_BACK_S)
    if not unsettled:
        load.probe(farm)
