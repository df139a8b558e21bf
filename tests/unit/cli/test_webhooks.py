"""Webhooks as people use them: by jobs.yaml, flag and SDK, with the receiver of the documents."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from farm.cli.views import delivery_words
from farm.gateway.server import Gateway
from farm.jobs.webhooks import Webhooks
from svdfarm import Client, Delivery, DeliveryState, Rejected
from tests.receiver import SECRET, Receiver, receiving
from tests.running import eventually, free_port, running_gateway, running_worker
from tests.unit.cli.conftest import Command

DOCUMENT = Path(__file__).parents[3] / "docs" / "WEBHOOKS.md"
JobsYaml = Callable[..., Path]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def gateway(
    tmp_path_factory: pytest.TempPathFactory, cwd: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Gateway]:
    """A farm with one worker that tells webhooks on this machine."""
    folder = tmp_path_factory.mktemp("farm")
    webhooks = Webhooks.read(SECRET, private=True)
    with (
        running_gateway(folder / "data", webhooks=webhooks) as gateway,
        running_worker(str(gateway.address), folder),
    ):
        monkeypatch.setenv("FARM_ADDRESS", str(gateway.address))
        yield gateway


def with_webhook(path: Path, url: str) -> Path:
    path.write_text(f"webhook: {url}\n{path.read_text()}")
    return path


def test_the_flag_goes_over_the_file_and_show_tells_how_far_it_is(
    gateway: Gateway, command: Command, jobs_yaml: JobsYaml, receiver: Receiver
) -> None:
    path = with_webhook(jobs_yaml("seed: 1"), receiver.url)
    assert command("submit", path).code == 0
    ended = command("submit", path, "--webhook", f"{receiver.url}&flag", "--overwrite", "--detach")
    job = ended.out.split()[0]
    eventually(lambda: "\nwebhook delivered\n" in command("show", job).out)
    shown = json.loads(command("show", job, "--json").out)
    assert shown["webhook"] == f"{receiver.url}&flag"
    assert (shown["delivery"]["state"], shown["delivery"]["attempt_count"]) == ("DELIVERED", 1)
    assert [r.target for r in receiver.received] == ["/hook?of=farm", "/hook?of=farm&flag"]
    assert [r.verified()["type"] for r in receiver.received] == ["job.succeeded"] * 2


def test_a_webhook_that_cannot_be_used_is_told_at_its_line(
    command: Command, jobs_yaml: JobsYaml
) -> None:
    ended = command("submit", with_webhook(jobs_yaml("seed: 1"), "ftp://example.com"), "--dry-run")
    assert ended.code == 1
    assert "jobs.yaml:1:10: webhook is no https URL; allowed: such as https://" in ended.err


def test_a_webhook_that_the_farm_refuses_is_refused_with_its_words(
    gateway: Gateway, command: Command, jobs_yaml: JobsYaml
) -> None:
    ended = command("submit", jobs_yaml("seed: 1"), "--webhook", "https://me@example.com")
    assert (ended.code, ended.out) == (1, "")
    assert "job.webhook has a user or password" in ended.err


def test_the_sdk_names_the_field_that_is_refused(gateway: Gateway, photo: Path) -> None:
    with Client(str(gateway.address)) as client, pytest.raises(Rejected) as refused:
        client.submit(photo, webhook="nonsense")
    assert [violation.field for violation in refused.value.violations] == ["job.webhook"]


@pytest.mark.parametrize("verb", ["gateway", "up"])
def test_a_secret_that_is_none_stops_the_start(
    verb: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_WEBHOOK_SECRET", "hunter2")
    ended = command(verb)
    assert ended.code == 1
    assert "FARM_WEBHOOK_SECRET is not whsec_ and 24 to 64 bytes in base64" in ended.err
    assert "hunter2" not in ended.err


@pytest.mark.parametrize(
    ("state", "attempt_count", "message", "words"),
    [
        (DeliveryState.PENDING, 0, "", "on its way"),
        (DeliveryState.PENDING, 2, "it answered 500", "retrying at DATE: it answered 500"),
        (DeliveryState.DELIVERED, 1, "", "delivered"),
        (DeliveryState.GIVEN_UP, 1, "it answered 410", "given up after 1 attempt: it answered 410"),
        (DeliveryState.GIVEN_UP, 7, "x\x1b", "given up after 7 attempts: x"),
    ],
)
def test_how_far_a_message_is_in_words(
    state: DeliveryState, attempt_count: int, message: str, words: str
) -> None:
    then = datetime(2026, 11, 25, 8, tzinfo=UTC) if state is DeliveryState.PENDING else None
    told = delivery_words(Delivery("msg_a", state, attempt_count, then, message))
    date = f"{datetime(2026, 11, 25, 8, tzinfo=UTC).astimezone():%Y-%m-%d %H:%M:%S}"
    assert told.startswith(words.replace("DATE", date))
    assert "\x1b" not in told


def test_the_receiver_of_the_documents_takes_what_the_farm_sends_and_nothing_else(
    gateway: Gateway, command: Command, jobs_yaml: JobsYaml
) -> None:
    (source,) = re.findall(
        r"(?ms)^```python[^\n]*\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8")
    )
    port = free_port()
    assert "8000" in source
    with subprocess.Popen(
        [sys.executable, "-c", source.replace("8000", str(port))],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "FARM_WEBHOOK_SECRET": SECRET},
    ) as process:
        try:
            url = f"http://127.0.0.1:{port}/"

            def forged() -> int:
                try:
                    urllib.request.urlopen(url, b"{}", timeout=10).close()
                except urllib.error.HTTPError as error:
                    error.close()
                    return error.code
                except OSError:
                    return 0
                return 204

            eventually(forged)
            assert forged() == 403
            ended = command("submit", jobs_yaml("seed: 1"), "--webhook", url, "--detach")
            assert process.stdout is not None
            assert process.stdout.readline() == f"job.succeeded {ended.out.split()[0]}\n"
        finally:
            process.kill()
