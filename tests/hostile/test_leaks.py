"""No secret is in what a gateway logs, answers or measures, whatever is sent to it."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from farm.gateway.access import METHODS, ROUTES
from svdfarm import Client, errors
from tests.hostile.conftest import FARM_TOKEN, WORKER_TOKEN
from tests.running import eventually, free_port

GUESSES = (
    "svdfarm_not-a-token-guess",
    f"svdfarm_{'a' * 12}_{'c' * 64}",
    "another-guess-of-a-secret",
)


class Process:
    """A real `farm gateway`, and all that it wrote."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        self.http = f"127.0.0.1:{free_port()}"
        arguments = ["--address", "127.0.0.1:0", "--http", self.http]
        arguments += ["--data", str(folder / "data"), "--stop-on-eof"]
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "farm", "gateway", *arguments],
                env={**os.environ, "FARM_TOKEN": FARM_TOKEN, "FARM_WORKER_TOKEN": WORKER_TOKEN},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().split()[1]

    def metrics(self) -> str:
        return self.get("/metrics", FARM_TOKEN)

    def get(self, path: str, token: str | None) -> str:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"http://{self.http}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return str(answer.headers) + answer.read().decode()
        except urllib.error.HTTPError as error:
            return str(error.headers) + error.read().decode()

    def stop(self) -> str:
        out, _ = self._process.communicate(timeout=30)
        return out + self.log.read_text()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path)
    yield process
    process.stop()


def test_no_secret_is_logged_told_or_measured(process: Process) -> None:
    with Client(process.address, FARM_TOKEN) as operator:
        good = operator.create_token("of a test", ["operate", "metrics"])
        narrow = operator.create_token("of a test", ["metrics"])
        revoked = operator.create_token("of a test", ["render"])
        operator.revoke_token(revoked.token.name)
        pasted = [f"tokens/{good.text}", good.text.removeprefix("svdfarm_")]
        told = [str(raised(operator, name)) for name in pasted]
        eventually(lambda: "TOKEN_REVOKED" in process.get("/metrics", revoked.text))
    texts = [good.text, narrow.text, revoked.text, *GUESSES, FARM_TOKEN, WORKER_TOKEN]
    with grpc.insecure_channel(process.address) as channel:
        for method in METHODS:
            for text in texts:
                told.append(answered(channel, method, (("authorization", f"Bearer {text}"),)))
                told.append(answered(channel, method, (("authorization", text),)))
    for path in [*ROUTES, "/other"]:
        told += [process.get(path, text) for text in texts]
        told += [process.get(f"{path}?token={text}", None) for text in texts]
    told.append(process.metrics())

    logged = process.stop()

    assert "token.created" in logged
    assert "token.revoked" in logged
    secrets = [text.rpartition("_")[2] for text in texts]
    everything = logged + "".join(told)
    assert [secret for secret in secrets if secret in everything] == []


def raised(operator: Client, name: str) -> errors.SvdfarmError:
    with pytest.raises(errors.SvdfarmError) as caught:
        operator.revoke_token(name)
    return caught.value


def answered(channel: grpc.Channel, method: str, metadata: tuple[tuple[str, str], ...]) -> str:
    """All that a call told; a request that is no message goes with it."""
    stream = channel.stream_stream(method)(iter([b"\xff"]), metadata=metadata, timeout=20)
    try:
        first = next(stream, None)
    except grpc.RpcError as error:
        return f"{error.details()} {error.trailing_metadata()}"
    finally:
        stream.cancel()
    return str(first)
