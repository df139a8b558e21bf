"""Breaks a farm under load, again and again, and checks that it keeps its promises.

    python -m tests.chaos --seed 1 --seconds 120 --database sqlite --artifacts folder

The history, the programs' logs and the table stay in build/chaos/.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from tests.chaos import inject
from tests.chaos.run import run
from tests.chaos.site import Plan

# Who submits gets what one core has.
_OF_SHORT_JOBS = {"submitters": 8, "watchers": 2, "downloaders": 3, "owners": 1}


def main() -> int:
    """Returns the exit code: 1 where a promise was broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=120.0, help="of faults")
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--artifacts", choices=["folder", "s3"], default="folder")
    parser.add_argument("--direct-upload", action="store_true", help="needs --artifacts s3")
    parser.add_argument("--fault", action="append", choices=inject.NAMES, help="only such")
    parser.add_argument("--count", action="append", type=_count, help="FAULT:N, instead of seconds")
    parser.add_argument("--older", metavar="COMMIT", default="", help="begin with that farm")
    parser.add_argument("--jobs", type=int, default=0, help="until so many, short, were accepted")
    parser.add_argument("--lose-answers", type=float, default=0.0, help="this share, all the time")
    parser.add_argument("--out", type=Path, default=Path("build/chaos"))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was mounted and started goes
    plan = Plan(
        options.seed,
        options.seconds,
        options.database,
        options.artifacts,
        options.direct_upload,
        older=options.older,
        jobs=options.jobs,
        lose_answers=options.lose_answers,
        **(_OF_SHORT_JOBS if options.jobs else {}),
        faults=tuple(options.fault or ()),
        counts=dict(options.count or ()),
    )
    kind = f"{plan.database}-{plan.artifacts}" + ("-direct" if plan.direct_upload else "")
    folder = options.out.absolute() / f"{kind}-{plan.seed}"
    report = run(plan, folder)
    length = "" if plan.counts else f", {plan.seconds:g} s of faults"
    table = f"{kind}, seed {plan.seed}{length}\n\n{report.table()}"
    (folder / "table.txt").write_text(table + "\n", encoding="utf-8")
    print(table)
    return 1 if report.violations else 0


def _count(given: str) -> tuple[str, int]:
    name, _, count = given.partition(":")
    if name not in inject.NAMES:
        raise argparse.ArgumentTypeError(f"{name!r} is no fault; {', '.join(inject.NAMES)} are")
    return name, int(count)


if __name__ == "__main__":
    sys.exit(main())
