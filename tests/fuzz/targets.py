"""What is fuzzed: each takes any bytes, and raises where the farm does not end as it should."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from farm.cli.jobs_file.document import FileUnreadable
from farm.cli.jobs_file.mistakes import JobsFileInvalid
from farm.cli.jobs_file.reader import read
from farm.container.image import read_header
from farm.container.reading import Torn
from farm.jobs import names
from farm.jobs.codec import Container
from farm.render.sandbox import decoder

_FIELDS = dict.fromkeys(names.OUTPUT_NAME_FIELDS, 5) | {"shot": "x", "extension": "mp4"}
_FOLDER = Path(tempfile.mkdtemp(prefix="farm-fuzz-"))


def image(data: bytes) -> None:
    """The structure, and where that is whole Pillow, in this process: a crash is found."""
    try:
        header = read_header(data)
    except Torn:
        return
    if header.size[0] * header.size[1] > 10**6:  # it is the speed that counts here
        return
    with contextlib.suppress(Exception):  # as the sandbox's process does
        found = decoder.decode(data, header.kind)
        if found.mode != "RGB" or sorted(found.size) != sorted(header.size):
            raise SystemExit(f"{found.mode}, {found.size} of {header}")


def jobs_file(data: bytes) -> None:
    """A jobs.yaml."""
    path = _FOLDER / "jobs.yaml"
    path.write_bytes(data)
    with contextlib.suppress(JobsFileInvalid, FileUnreadable):
        read(path, draw=lambda number: number)


def template(data: bytes) -> None:
    """A template of videos' names: what it gives is a safe name, or it is refused."""
    text = data.decode(errors="surrogateescape")
    with contextlib.suppress(names.NameInvalid):
        name = names.fill_template(text, _FIELDS, Container.MP4)
        if Path(name).name != name or name.startswith(".") or not name.isascii():
            raise SystemExit(f"{text!r} gives {name!r}")


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "image": image,
    "jobs_file": jobs_file,
    "template": template,
}
