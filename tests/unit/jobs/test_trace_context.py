"""What a traceparent is, and which spans lie inside it."""

from __future__ import annotations

import pytest

from farm.jobs import trace_context
from farm.store.records import ShotKey, spans_of

CALL = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    "given",
    [
        "",
        "00",
        CALL.upper(),
        CALL + "-00",
        CALL.replace("00-", "01-", 1),
        CALL[:3] + "0" * 32 + CALL[35:],
        CALL[:36] + "0" * 16 + CALL[52:],
        CALL + "\n",
        " " + CALL,
    ],
)
def test_what_is_no_traceparent_is_none(given: str) -> None:
    assert trace_context.read(given) == ""


def test_its_parts() -> None:
    assert trace_context.read(CALL) == CALL
    assert trace_context.trace_id(CALL) == "0af7651916cd43dd8448eb211c80319c"
    assert trace_context.span_id(CALL) == "b7ad6b7169203331"
    assert trace_context.is_sampled(CALL)
    assert not trace_context.is_sampled(CALL[:-2] + "00")
    assert not trace_context.is_sampled("")
    assert trace_context.ids(CALL) == {"trace": "0af7651916cd43dd8448eb211c80319c"}
    assert trace_context.ids("") == {}


def test_whoever_asks_finds_the_same_spans_and_no_two_are_one() -> None:
    keys = [ShotKey("abc", 1), ShotKey("abc", 2), ShotKey("abd", 1)]
    found = [spans_of(key, attempt, CALL) for key in keys for attempt in (1, 2)]
    assert found == [spans_of(key, attempt, CALL) for key in keys for attempt in (1, 2)]
    shots, attempts = {shot for shot, _ in found}, {attempt for _, attempt in found}
    assert (len(shots), len(attempts)) == (3, 6)
    for span in shots | attempts:
        assert trace_context.read(span) == span
        assert trace_context.trace_id(span) == trace_context.trace_id(CALL)
        assert trace_context.is_sampled(span)


def test_without_a_call_there_are_none() -> None:
    assert spans_of(ShotKey("abc", 1), 1, None) == ("", "")
