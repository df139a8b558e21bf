"""Values that could not work are refused before anything is installed, each with its own words."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.check.chart import CHART, RELEASE, Object, Refused, render

Refusal = dict[str, Any]

REFUSALS: list[Refusal] = yaml.safe_load(Path(__file__).with_name("refusals.yaml").read_text())


@cache
def _error_of(number: int) -> str:
    """What Helm says of the values of a refusal; empty if it takes them."""
    refusal = REFUSALS[number]
    values: Object = refusal["values"]
    try:
        render(refusal["profile"], values, release=refusal.get("release", RELEASE))
    except Refused as error:
        return str(error)
    return ""


@pytest.mark.parametrize("number", range(len(REFUSALS)), ids=[r["claim"] for r in REFUSALS])
def test_it_is_refused_and_told_why(number: int) -> None:
    assert REFUSALS[number]["message"] in _error_of(number)


def test_each_has_words_of_its_own() -> None:
    assert len({_error_of(number) for number in range(len(REFUSALS))}) == len(REFUSALS) >= 12


def test_every_guard_of_the_chart_is_tried() -> None:
    guards = (CHART / "templates" / "_guards.tpl").read_text()
    messages = re.findall(r'fail (?:\(printf )?"((?:[^"\\]|\\.)*)"', guards)
    errors = [_error_of(number) for number in range(len(REFUSALS))]

    assert len(messages) == len(re.findall(r"\bfail\b", guards))
    untried = []
    for message in messages:
        told = re.escape(message.replace('\\"', '"'))
        pattern = re.sub("%[dqs]", ".*", told)
        if not any(re.search(pattern, error) for error in errors):
            untried.append(message)
    assert untried == []
