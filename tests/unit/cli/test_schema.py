"""The published JSON Schema of jobs.yaml."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from farm.cli.jobs_file import keys
from farm.cli.jobs_file.schema import dump, schema
from farm.cli.jobs_file.template import TEMPLATE
from farm.jobs.params import RANGES

ROOT = Path(__file__).parents[3]


def test_the_published_schema_is_current() -> None:
    published = (ROOT / "docs" / "jobs.schema.json").read_text()

    assert published == dump(), "run: python -m farm.cli.jobs_file.schema > docs/jobs.schema.json"


def test_every_range_has_a_key_that_people_can_write() -> None:
    assert set(RANGES) <= set(keys.KEY_OF_FIELD)


@pytest.mark.parametrize("text", [TEMPLATE, (ROOT / "examples" / "jobs.yaml").read_text()])
def test_our_own_files_follow_the_schema(text: str) -> None:
    jsonschema.Draft202012Validator(schema()).validate(yaml.safe_load(text))


@pytest.mark.parametrize(
    "text",
    [
        "name: x",
        "shots: []",
        "shots: [{name: x}]",
        "shots: [{image: a.png, fps: 0}]",
        "shots: [{image: a.png, fps: 7.5}]",
        "shots: [{image: a.png, size: 64}]",
        "shots: [{image: a.png, nope: 1}]",
        "shots: [{image: a.png, combine: zip}]",
        "shots: [{image: a.png, sweep: {seed: '1 to 4'}}]",
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(text: str) -> None:
    assert not jsonschema.Draft202012Validator(schema()).is_valid(yaml.safe_load(text))
