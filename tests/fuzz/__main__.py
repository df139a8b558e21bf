"""`python -m tests.fuzz TARGET SECONDS`: fuzzes one target; ends with 1 where it finds a fault."""

from __future__ import annotations

import importlib.util
import itertools
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.hostile import images, jobs_files, names

_SMALL_BYTES = 20_000
_MEMORY_MIB = 2048


def seeds(target: str) -> Iterator[bytes]:
    """Inputs to begin with: the small ones of tests/hostile."""
    match target:
        case "image":
            cases = (case.content for case in itertools.islice(images.all_cases(), 200))
        case "jobs_file":
            cases = (case.content for case in jobs_files.all_cases())
        case _:
            cases = (case.content.encode(errors="replace") for case in names.templates())
    return (data for data in cases if len(data) < _SMALL_BYTES)


def main() -> None:
    """Fuzzes for so long."""
    target, seconds = sys.argv[1], int(sys.argv[2])
    if importlib.util.find_spec("atheris") is None:
        python = ".".join(map(str, sys.version_info[:2]))
        print(f"skipped: atheris is not installed; it has no wheel for Python {python}, perhaps")
        return
    import atheris

    with atheris.instrument_imports(include=["farm", "PIL", "yaml"]):
        from tests.fuzz.targets import TARGETS

    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(seeds(target)):
            (Path(folder) / str(number)).write_bytes(data)
        options = [f"-max_total_time={seconds}", f"-rss_limit_mb={_MEMORY_MIB}", "-timeout=10"]
        # libFuzzer ends the process itself.
        atheris.Setup([sys.argv[0], *options, "-print_final_stats=1", folder], TARGETS[target])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
