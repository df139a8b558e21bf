"""Runs a farm, cuts its power at many moments of that run, and checks what each leaves.

python -m tests.chaos.power --cuts 1000 --seed 1
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections import Counter
from pathlib import Path

from tests.chaos.power import cuts, disk
from tests.chaos.power.record import record


def main() -> int:
    """Returns the exit code: 1 where a promise was broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cuts", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=8.0, help="of the run that is cut")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/power"))
    options = parser.parse_args()
    folder = options.out.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    journal, promises = record(folder, options.seconds, options.seed)
    records = list(disk.read(journal))
    broken: list[str] = []
    tried = 0
    for found in cuts.cut(folder / "data", records, promises, options.cuts, options.seed):
        tried += 1
        broken += found
    kinds = [promise.what for promise in promises.made]
    print(
        f"{len(records)} writes noted; {kinds.count('job')} jobs and {kinds.count('video')} videos "
        f"promised, {kinds.count('deleted')} deletions\n"
        f"{tried} power cuts, {len(broken)} promises broken"
    )
    for kind, count in Counter(line.partition(":")[0] for line in broken).most_common():
        example = next(line for line in broken if line.startswith(kind))
        print(f"{count} x {example}")
    return 1 if broken or tried < options.cuts or not kinds else 0


if __name__ == "__main__":
    sys.exit(main())
