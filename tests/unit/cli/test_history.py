"""logs, cost and the estimate of a dry run, against a real farm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from farm.cli.durations import told_s
from farm.cli.estimating import lines
from farm.cli.pricing import Price
from farm.settings import SettingsInvalid
from svdfarm import Estimate
from tests.unit.cli.conftest import Command
from tests.unit.cli.test_submit import ONE, TWO, job_name, objects
from tests.unit.client.running_farm import running_farm

JobsYaml = Callable[..., Path]


def test_logs_tell_what_happened_to_each_shot(on_farm: Command, jobs_yaml: JobsYaml) -> None:
    job = job_name(on_farm("submit", jobs_yaml(ONE, TWO)))

    whole = on_farm("logs", job)
    of_two = on_farm("logs", job, "--shot", "two")

    assert whole.code == 0
    told = [line.split("  ", 1)[1] for line in whole.lines]
    for name in ("one", "two"):
        own = [line for line in told if line.startswith(f"{name} attempt 1")]
        what = [line.split("  ")[1].split()[0] for line in own]
        # Told by the gateway, and logged by the worker: by two clocks' leave.
        assert sorted(what) == ["SUCCEEDED", "began", "given", "shot.rendered", "shot.started"]
        assert [word for word in what if "." not in word] == ["given", "began", "SUCCEEDED"]
    assert [line for line in told if line.startswith("two")] == [
        line.split("  ", 1)[1] for line in of_two.lines
    ]
    assert whole.lines == sorted(whole.lines, key=lambda line: line[:19])


def test_logs_follow_a_job_to_its_end(on_farm: Command, jobs_yaml: JobsYaml) -> None:
    job = job_name(
        on_farm(
            "submit",
            jobs_yaml(*[f"name: s{n}, seed: {n}" for n in range(4)]),
            "--detach",
        )
    )

    followed = objects(on_farm("logs", job, "--follow", "--json"))

    events = [(line["shot"], line["event"]) for line in followed]
    assert sorted(events) == sorted(
        (f"{job}/shots/{n}", event)
        for n in range(1, 5)
        for event in ("claimed", "started", "logged", "logged", "ended")
    )
    rendered = [line for line in followed if line.get("logged") == "shot.rendered"]
    assert len(rendered) == 4
    assert all(float(line["fields"]["denoise_s"]) >= 0 for line in rendered)  # type: ignore[index]
    assert {line["outcome"] for line in followed if line["event"] == "ended"} == {"SUCCEEDED"}


def test_logs_say_why_a_shot_failed(command: Command, jobs_yaml: JobsYaml, tmp_path: Path) -> None:
    with running_farm(tmp_path) as farm:
        farm.add_worker(fails=True)
        job = job_name(command("submit", jobs_yaml(ONE), "--address", farm.address))
        told = command("logs", job, "--address", farm.address)
    assert "PARAMS_REJECTED" in told.lines[-1]
    assert told.lines[-1].endswith(": this worker renders nothing")
    assert any("  warning shot.failed reason=PARAMS_REJECTED" in line for line in told.lines)


def test_logs_of_a_shot_that_is_not_there_are_refused(
    on_farm: Command, jobs_yaml: JobsYaml
) -> None:
    job = job_name(on_farm("submit", jobs_yaml(ONE)))
    refused = on_farm("logs", job, "--shot", "three")
    assert refused.code == 1
    assert "--shot has 'three'; allowed: numbers from 1 to 1" in refused.err


def test_logs_of_a_range_are_told(on_farm: Command, jobs_yaml: JobsYaml) -> None:
    job = job_name(on_farm("submit", jobs_yaml(ONE, TWO, "name: three, seed: 3")))
    told = on_farm("logs", job, "--shot", "2-3").lines
    assert {line.split("  ")[1].split()[0] for line in told} == {"two", "three"}


def test_cost_is_gpu_time_and_its_price(
    on_farm: Command, jobs_yaml: JobsYaml, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_name(on_farm("submit", jobs_yaml(ONE, TWO)))
    unpriced = on_farm("cost", job)
    monkeypatch.setenv("FARM_GPU_HOUR_PRICE", "3600000 EUR")  # a thousand a second
    (told,) = objects(on_farm("cost", job, "--json"))

    assert unpriced.lines[0].split("  ")[0] == "JOB"
    assert "PRICE" not in unpriced.lines[0]
    assert "FARM_GPU_HOUR_PRICE" in unpriced.err
    gpu_s = told["gpu_s"]
    assert isinstance(gpu_s, float)
    assert gpu_s > 0
    assert told["price"] == pytest.approx(gpu_s * 1000)
    assert (told["currency"], told["lost_gpu_s"]) == ("EUR", 0)


def test_cost_of_several_jobs_is_added_up(on_farm: Command, jobs_yaml: JobsYaml) -> None:
    names = [job_name(on_farm("submit", jobs_yaml(shot))) for shot in (ONE, TWO)]
    assert on_farm("cost", *names).lines[-1].startswith("in all")


def test_a_dry_run_tells_what_such_shots_took(
    on_farm: Command, jobs_yaml: JobsYaml, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_farm("submit", jobs_yaml(ONE))
    file = jobs_yaml("name: more, sweep: {seed: '1-3'}")
    monkeypatch.setenv("FARM_GPU_HOUR_PRICE", "2.50 EUR")

    text = on_farm("submit", file, "--dry-run")
    *_, told = objects(on_farm("submit", file, "--dry-run", "--json"))

    assert "GPU time: about" in text.err
    assert "EUR" in text.err
    assert "on 1 worker" in text.err
    assert (told["event"], told["shot_count"], told["worker_count"]) == ("estimated", 3, 1)


def test_a_dry_run_is_refused_as_the_job_would_be(on_farm: Command, jobs_yaml: JobsYaml) -> None:
    refused = on_farm("submit", jobs_yaml("name: one, model: nobody-has-it"), "--dry-run")
    assert refused.code == 1
    assert "nobody-has-it" in refused.err
    assert "jobs.yaml:3:" in refused.err


def test_an_estimate_says_what_cannot_be_told() -> None:
    told = Estimate(6, 1, 12.0, 2, 1, 90.0, 0, None)
    assert lines(told, Price(3600.0, "EUR")) == [
        "6 shots; dry run: nothing was sent",
        "rendered before, and taken from there: 1",
        "GPU time: about 12.0 s (1 of them by the size of others), 12.00 EUR",
        "2 of a model that this farm has not rendered yet: how long they take cannot be told",
        "first go shots that take about 1 min 30 s",
        "no worker takes such shots just now: they would wait for one",
    ]


def test_what_is_all_rendered_before_waits_for_no_worker() -> None:
    assert lines(Estimate(2, 2, 0.0, 0, 0, 0.0, 0, None), None) == [
        "2 shots; dry run: nothing was sent",
        "rendered before, and taken from there: 2",
    ]


@pytest.mark.parametrize(
    ("text", "amount", "currency"),
    [("2.50 EUR", 2.5, "EUR"), ("3", 3.0, ""), ("1.2$", 1.2, "$"), (" 0.9 usd ", 0.9, "usd")],
)
def test_a_price_is_read(text: str, amount: float, currency: str) -> None:
    assert Price.read(text) == Price(amount, currency)


@pytest.mark.parametrize("text", ["EUR 2.50", "-1", "2,50", "", "1 2", "nan"])
def test_a_price_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingsInvalid, match="gpu_hour_price is"):
        Price.read(text)


def test_a_small_price_is_not_nothing() -> None:
    assert Price(2.5, "EUR").told(1.0) == "less than 0.01 EUR"
    assert Price(2.5, "EUR").told(7200.0) == "5.00 EUR"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(8.21, "8.2 s"), (192.4, "3 min 12 s"), (7500.0, "2 h 5 min"), (273600.0, "3 d 4 h")],
)
def test_a_length_of_time_is_told(seconds: float, told: str) -> None:
    assert told_s(seconds) == told
