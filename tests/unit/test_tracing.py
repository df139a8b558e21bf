"""When spans are told, and that nothing else changes where they cannot be."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from farm import tracing
from farm.settings import otlp_protocol, otlp_timeout_s, traces_wanted

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317"}
WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "opentelemetry":
            raise ImportError(f"No module named {name!r}")

sys.meta_path.insert(0, Missing())
from farm import tracing
from svdfarm import tracing as of_client

print(tracing.configure_traces("test", "1"))
call = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
with tracing.span("a", "SERVER", call, {}), of_client.submitting("b"):
    with of_client.calling(None) as carried:
        print([tracing.current(), tracing.tell(call, "c", 1.0, 2.0), carried, of_client.headers()])
tracing.flush()
"""


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4317"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "True"}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "false"}, True),
    ],
)
def test_the_environment_asks_for_them(environment: dict[str, str], *, wanted: bool) -> None:
    assert traces_wanted(environment) is wanted


def test_how_they_are_sent() -> None:
    assert otlp_protocol({}) == "grpc"
    assert otlp_protocol({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}) == "http/protobuf"
    assert otlp_timeout_s({}) == 3.0
    assert otlp_timeout_s({"OTEL_EXPORTER_OTLP_TIMEOUT": "10"}) is None


def test_a_protocol_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "traces_wanted", lambda: True)
    monkeypatch.setattr(tracing, "otlp_protocol", lambda: "http/json")
    told = tracing.configure_traces("test", "1")
    assert told == "traces are off: the protocol is 'http/json'; allowed: grpc or http/protobuf"
    assert not tracing.is_on()


def test_without_the_extra_a_program_says_so_and_goes_on() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT],
        env={**os.environ, **ENDPOINT},
        capture_output=True,
        text=True,
        check=True,
    )
    problem, nothing = done.stdout.splitlines()
    assert problem.startswith("traces are off: No module named 'opentelemetry")
    assert problem.endswith("; pip install 'svdfarm[otel]'")
    assert nothing == "['', '', (), ()]"
