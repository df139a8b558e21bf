"""The model that would be used, and whether Stability's weights can be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from farm.cli.doctor import model
from farm.cli.doctor.check import State
from farm.cli.doctor.model import Hub
from farm.jobs.params import KNOWN_MODELS, default_model
from farm.settings import hub_token_set

XT = "stabilityai/stable-video-diffusion-img2vid-xt"


@pytest.mark.parametrize(("on_gpu", "place"), [(True, "a GPU"), (False, "a CPU")])
def test_the_default_is_the_one_that_workers_take(on_gpu: bool, place: str) -> None:
    check, _ = model.check_model(None, on_gpu, hub_token_set=False)

    assert check.found.startswith(default_model(on_gpu))
    assert f"the default on {place}" in check.found


def test_a_test_pattern_is_told_and_a_model_for_films_is_not() -> None:
    tiny, _ = model.check_model("tiny", on_gpu=False, hub_token_set=False)
    xt, _ = model.check_model("svd-xt", on_gpu=False, hub_token_set=False)

    assert tiny.state is State.WARN
    assert "random weights: a test pattern" in tiny.found
    assert "built in" in tiny.found
    assert xt.state is State.OK
    assert xt.found == f"svd-xt: as set; {XT}; 25 frames, 1024x576"


def test_every_known_model_is_described() -> None:
    for name, info in KNOWN_MODELS.items():
        check, gated = model.check_model(name, on_gpu=False, hub_token_set=False)

        assert check.found.startswith(name)
        assert f"{info.frame_count} frames" in check.found
        assert gated.name == (name if name in ("svd", "svd-xt") else "svd-xt")


def test_a_folder_that_is_no_model_fails_with_what_is_missing(tmp_path: Path) -> None:
    (check,) = model.check_model(str(tmp_path), on_gpu=False, hub_token_set=False)

    assert check.state is State.FAIL
    assert "config.json is missing" in check.advice


def test_a_name_that_is_no_model_fails_with_those_that_are() -> None:
    (check,) = model.check_model("svd-xxl", on_gpu=False, hub_token_set=False)

    assert check.state is State.FAIL
    assert "svd, svd-xt" in check.advice


@pytest.mark.parametrize(
    ("is_cached", "token", "is_offline", "in_use", "state", "advice"),
    [
        (True, "", False, True, State.OK, ""),
        (True, "", True, True, State.OK, ""),
        (False, "", False, True, State.FAIL, "HF_TOKEN=... farm up --model svd-xt."),
        (False, "HF_TOKEN", False, True, State.WARN, "The first `farm up --model svd-xt`"),
        (False, "HF_TOKEN", True, True, State.FAIL, "Unset HF_HUB_OFFLINE"),
        (False, "", False, False, State.OK, "HF_TOKEN=... farm up --model svd-xt."),
    ],
)
def test_gated_weights_are_had_by_cache_or_token(
    is_cached: bool, token: str, is_offline: bool, in_use: bool, state: State, advice: str
) -> None:
    check = model.judge_hub("svd-xt", Hub(XT, is_cached, token, is_offline), in_use=in_use)

    assert check.name == "svd-xt"
    assert check.state is state
    assert advice in check.advice
    assert ("a token is set" in check.found) is bool(token)
    if advice and not is_offline:
        assert f"licence on huggingface.co/{XT}" in check.advice


@pytest.mark.parametrize(
    ("environ", "is_set"),
    [
        ({}, False),
        ({"HF_TOKEN": " \n"}, False),
        ({"HF_TOKEN": "hf_x"}, True),
        ({"HUGGING_FACE_HUB_TOKEN": "hf_x"}, True),
    ],
)
def test_a_token_of_the_hub_is_known_by_its_variables(
    environ: dict[str, str], is_set: bool
) -> None:
    assert hub_token_set(environ) is is_set
