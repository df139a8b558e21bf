"""`python -m tests.hostile`: tries every hostile input and writes docs/HOSTILE_INPUTS.md."""

from __future__ import annotations

import argparse
import asyncio
import platform
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import PIL
import yaml

from farm.cli.jobs_file.document import FileUnreadable
from farm.cli.jobs_file.mistakes import JobsFileInvalid
from farm.cli.jobs_file.reader import read
from farm.jobs import names as rules
from farm.jobs.codec import Container
from farm.render.errors import ImageRejected
from farm.render.sandbox.images import measure_image
from farm.render.sandbox.pool import POOL
from tests.hostile import images, jobs_files, names
from tests.hostile.case import Tally, Verdict, try_all
from tests.hostile.gateway import real_gateway
from tests.hostile.test_messages import COUNT, ask_everything

_FIELDS = {"shot": "x", "index": 1, "seed": 5, "fit": "crop", "extension": "mp4"}


class _Refused(Exception):
    pass


def rows(folder: Path) -> Iterator[tuple[str, Tally]]:
    """Each kind of input, and how its inputs ended."""

    def read_file(contents: bytes) -> None:
        path = folder / "jobs.yaml"
        path.write_bytes(contents)
        try:
            read(path, draw=lambda number: number)
        except (JobsFileInvalid, FileUnreadable) as error:
            raise _Refused(str(error)) from error

    def fill(template: str) -> str:
        return rules.fill_template(template, _FIELDS, Container.MP4)

    (folder / "a.png").write_bytes(images.BASES["png"])
    yield "images", try_all(images.all_cases(), measure_image, ImageRejected)
    yield "jobs.yaml", try_all(jobs_files.all_cases(), read_file, _Refused)
    for kind, cases, ask in (
        ("names of videos", names.output_names(), rules.check_output_name),
        ("names of shots", names.shot_names(), rules.check_shot_name),
        ("templates of names", names.templates(), fill),
    ):
        yield kind, try_all(cases, ask, rules.NameInvalid)
    with real_gateway(folder) as gateway:
        ended = asyncio.run(ask_everything(gateway.address, COUNT, seed=2))
    yield "messages, 40 calls at once", _tally_of(ended)


def _tally_of(ended: Counter[tuple[str, str]]) -> Tally:
    tally = Tally()
    for (method, code), count in ended.items():
        # A watch or a session that was let in ends with its caller's time limit.
        taken = code in ("OK", "DEADLINE_EXCEEDED")
        tally.counts[Verdict.TAKEN if taken else Verdict.REFUSED] += count
        if code in ("INTERNAL", "UNKNOWN"):
            tally.wrong.append(f"{method}: {code}")
    return tally


def main() -> None:
    """Writes the table, or ends with 1 where anything ended as it must not."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("docs/HOSTILE_INPUTS.md"))
    options = parser.parse_args()
    lines = [
        "# Hostile inputs",
        "",
        "Made by `make hostile` from fixed seeds; the inputs are those of tests/hostile.",
    ]
    missing = "; ".join(POOL.missing()) or "nothing"
    about = (
        f"Python {platform.python_version()}, Pillow {PIL.__version__}, PyYAML {yaml.__version__}"
    )
    lines += ["", f"{about}; missing of the images' sandbox: {missing}.", ""]
    lines += ["| input | tried | taken | refused | crashes | ended otherwise than they must |"]
    lines += ["|---|---|---|---|---|---|"]
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, tally in rows(Path(folder)):
            taken, refused = tally.counts[Verdict.TAKEN], tally.counts[Verdict.REFUSED]
            # A crash would have ended this program.
            told = (
                f"| {kind} | {tally.count:,} | {taken:,} | {refused:,} | 0 | {len(tally.wrong)} |"
            )
            print(told, flush=True)
            lines.append(told)
            wrong += tally.wrong
    options.out.write_text("\n".join(lines) + "\n")
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
