from __future__ import annotations

import time
from pathlib import Path

import pytest

from farm.cli.jobs_file.document import FileUnreadable
from farm.cli.jobs_file.mistakes import JobsFileInvalid
from farm.cli.jobs_file.reader import read
from tests.hostile.case import try_all
from tests.hostile.jobs_files import all_cases
from tests.hostile.memory import growing_little


class Refused(Exception):
    pass


def ask_in(folder: Path, contents: bytes) -> None:
    path = folder / "jobs.yaml"
    path.write_bytes(contents)
    started = time.process_time()
    try:
        read(path, draw=lambda number: number)
    except (JobsFileInvalid, FileUnreadable) as error:
        raise Refused(str(error)) from error
    finally:
        assert time.process_time() - started < 2


def test_every_hostile_jobs_file_is_taken_or_refused_as_it_must(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with growing_little():
        tally = try_all(all_cases(), lambda contents: ask_in(tmp_path, contents), Refused)

    assert tally.wrong == []
    assert tally.count >= 200


def test_a_jobs_file_that_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "jobs.yaml").mkdir()
    with pytest.raises(FileUnreadable, match="is a directory"):
        read(tmp_path / "jobs.yaml", draw=lambda number: number)
