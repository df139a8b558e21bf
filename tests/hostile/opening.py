"""Opens every hostile image as a worker does, in a process that has done nothing else.

The memory of one that has rendered says little: `farm.render.cpu` has it keep what was freed.
"""

from __future__ import annotations

import itertools
import sys

from farm.render.errors import ImageRejected
from farm.render.image import open_image
from tests.hostile.case import Verdict, try_all
from tests.hostile.images import all_cases
from tests.hostile.memory import growing_little


def main() -> None:
    """Fails where one is not taken or refused as it must be, or where memory is kept."""
    try_all(itertools.islice(all_cases(), 50), open_image, ImageRejected)
    with growing_little():
        tally = try_all(all_cases(), open_image, ImageRejected)
    if tally.wrong or tally.counts[Verdict.TAKEN] <= 100:
        sys.exit(f"{tally.counts}, {tally.wrong}")


if __name__ == "__main__":
    main()
