"""What a job's owner may ask for, on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from farm.cli.durations import read_duration_s
from tests.unit.cli.conftest import Command

JobsYaml = Callable[..., Path]
ONE, WAITS = "name: one, seed: 1", "name: never, model: svd"


def submit(on_farm: Command, file: Path) -> str:
    return on_farm("submit", file, "--detach").out.split()[0]


def test_pause_and_resume_say_how_the_job_is(on_farm: Command, jobs_yaml: JobsYaml) -> None:
    name = submit(on_farm, jobs_yaml(WAITS))

    paused = on_farm("pause", name)
    resumed = on_farm("resume", name.removeprefix("jobs/"), "--json")

    assert paused.lines == [
        f"{name} PAUSED 0 of 1 shots ended",
        "paused: no shot starts until it is resumed",
    ]
    assert json.loads(resumed.out)["state"] == "QUEUED"
    on_farm("cancel", name)


def test_delete_takes_several_jobs_and_goes_on_behind_one_that_is_refused(
    on_farm: Command, jobs_yaml: JobsYaml
) -> None:
    waits, ended = submit(on_farm, jobs_yaml(WAITS)), submit(on_farm, jobs_yaml(ONE))
    on_farm("watch", ended)

    deleted = on_farm("delete", waits, ended, "jobs/nowhere")

    assert deleted.code == 1
    assert deleted.lines == [f"{ended} deleted"]
    assert f"error: {waits} is QUEUED; cancel it" in deleted.err
    assert "error: there is no job jobs/nowhere" in deleted.err
    assert on_farm("show", ended).code == 1
    on_farm("cancel", waits)


def test_a_priority_is_changed_or_refused(on_farm: Command, jobs_yaml: JobsYaml) -> None:
    name = submit(on_farm, jobs_yaml(WAITS))

    changed = on_farm("priority", name, "70", "--json")
    refused = on_farm("priority", name, "101")

    assert json.loads(changed.out)["priority"] == 70
    assert (refused.code, refused.out) == (1, "")
    assert "job.priority is 101; allowed: from 0 to 100" in refused.err
    on_farm("cancel", name)


def test_a_requeue_says_how_many_shots_are_queued_again(
    on_farm: Command, jobs_yaml: JobsYaml
) -> None:
    name = submit(on_farm, jobs_yaml(WAITS, "name: too, model: svd"))
    on_farm("cancel", name)

    nothing = on_farm("requeue", name)
    one = on_farm("requeue", name, "--state", "cancelled", "--shot", "2")
    rest = on_farm("requeue", name, "--state", "cancelled", "--state", "failed", "--json")
    wrong = on_farm("requeue", name, "--state", "succeeded")

    assert nothing.lines == [f"{name} CANCELLED, shots queued again: 0"]
    assert one.lines == [f"{name} QUEUED, shots queued again: 1"]
    assert json.loads(rest.out)["requeued_shot_count"] == 1
    assert wrong.code == 1
    assert "--state is 'succeeded'; allowed: failed, cancelled" in wrong.err
    on_farm("cancel", name)


def test_single_shots_are_cancelled_and_the_rest_is_rendered(
    on_farm: Command, jobs_yaml: JobsYaml
) -> None:
    name = submit(on_farm, jobs_yaml(WAITS, "name: two, seed: 2", "name: too, model: svd"))

    unknown = on_farm("cancel", name, "--shot", "1,4")
    cancelled = on_farm("cancel", name, "--shot", "1,too")

    assert (unknown.code, unknown.out) == (1, "")
    assert "--shot has '4'; allowed: numbers from 1 to 3" in unknown.err
    assert cancelled.code == 0
    assert "2 cancelled" in cancelled.out
    watched = on_farm("watch", name)
    assert (watched.code, watched.lines[-1]) == (
        0,
        f"{name} SUCCEEDED 3 of 3 shots ended, 2 cancelled",
    )


def test_shots_of_several_jobs_are_not_cancelled_together(on_farm: Command) -> None:
    ended = on_farm("cancel", "jobs/a", "jobs/b", "--shot", "1")

    assert (ended.code, ended.out) == (1, "")
    assert "--shot is of one job; 2 were given" in ended.err


def test_a_dry_run_of_prune_tells_and_deletes_nothing(
    on_farm: Command, jobs_yaml: JobsYaml
) -> None:
    name = submit(on_farm, jobs_yaml(ONE))
    on_farm("watch", name)

    dry = on_farm("prune", "--older-than", "0s", "--state", "succeeded", "--dry-run")
    young = on_farm("prune", "--older-than", "30d", "--json")
    kept = on_farm("show", name)
    done = on_farm("prune", "--older-than", "0s", "--state", "succeeded", "--json")

    assert dry.out.startswith("would delete ")
    assert "jobs with" in dry.out
    assert json.loads(young.out)["job_count"] == 0
    assert kept.code == 0
    assert json.loads(done.out)["job_count"] >= 1
    assert on_farm("show", name).code == 1


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--older-than", "30"], "--older-than is '30'; allowed: a number and s, m, h or d"),
        (["--older-than", "1d", "--state", "running"], "--state is 'running'; allowed: succeeded"),
        ([], "Missing option '--older-than'"),
    ],
)
def test_a_prune_that_cannot_be_meant_is_refused(
    args: list[str], said: str, on_farm: Command
) -> None:
    ended = on_farm("prune", *args)

    assert (ended.code, ended.out) == (1, "")
    assert said in ended.err


@pytest.mark.parametrize("verb", ["gateway", "up"])
def test_a_retention_that_is_none_stops_the_start(verb: str, command: Command) -> None:
    ended = command(verb, "--retention", "long")

    assert ended.code == 1
    assert "retention is 'long'; allowed: a number and s, m, h or d, such as 30d" in ended.err


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ("90m", 5400), ("12h", 43200), ("30d", 2592000)]
)
def test_ages_are_read(text: str, seconds: int) -> None:
    assert read_duration_s(text, "x") == seconds
