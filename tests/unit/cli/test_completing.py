"""What the shell offers, asked for as bash asks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from farm.cli import completing
from tests.unit.cli.conftest import Command
from tests.unit.cli.test_submit import ONE, job_name

JobsYaml = Callable[..., Path]


def offered(*words: str) -> list[str]:
    asked = {"_FARM_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(("farm", *words))}
    ended = subprocess.run(
        [sys.executable, "-c", "from farm.cli import main; main()"],
        env={**os.environ, **asked, "COMP_CWORD": str(len(words))},
        capture_output=True,
        text=True,
    )
    assert ended.stderr == ""
    return ended.stdout.split()


def test_verbs_and_options_are_completed(cwd: Path) -> None:
    assert offered("prom") == ["promote"]
    assert offered("submit", "--dr") == ["--dry-run", "--draft"]


def test_jobs_of_the_farm_are_completed(on_farm: Command, jobs_yaml: JobsYaml) -> None:
    name = job_name(on_farm("submit", jobs_yaml(ONE)))
    bare = name.removeprefix("jobs/")
    assert name in [word for word, _ in completing.jobs("")]
    assert [word for word, _ in completing.jobs(name[:-1])] == [name]
    assert [word for word, _ in completing.jobs(bare[:-1])] == [bare]
    assert offered("show", name[:-1]) == [name]


def test_a_farm_that_is_away_offers_nothing(cwd: Path) -> None:
    (cwd / "farm.toml").write_text('address = "127.0.0.1:1"\n')
    assert completing.jobs("") == []
    (cwd / "farm.toml").write_text("adress = 1\n")
    assert completing.jobs("") == []
