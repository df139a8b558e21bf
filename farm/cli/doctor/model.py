"""The model that this machine would take, and whether Stability's own weights can be had."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from farm.cli.doctor.check import Check, fail, ok, warn
from farm.jobs.params import KNOWN_MODELS, NOTES, SVD_XT, TINY, ModelInfo, default_model


@dataclass(frozen=True)
class Choice:
    """A model that can be described."""

    info: ModelInfo
    note: str | None
    source: str
    why: str  # why it is this one


@dataclass(frozen=True)
class Hub:
    """What this machine has of a model of Hugging Face's hub; nobody was asked over the network."""

    repository: str
    is_cached: bool
    token: str  # where a token is set; empty where none is
    is_offline: bool


def check_model(wanted: str | None, on_gpu: bool, hub_token_set: bool) -> list[Check]:
    """The check of the model in use, and of Stability's."""
    from farm.render.errors import RenderError
    from farm.render.hub import REPOSITORIES

    name = wanted or default_model(on_gpu)
    dtype = "float16" if on_gpu else "float32"
    try:
        checks = [judge_choice(probe_choice(name, dtype, wanted, on_gpu))]
    except RenderError as error:
        return [fail("model", f"{name} cannot be used", str(error))]
    gated = name if name in REPOSITORIES else SVD_XT.name
    hub = probe_hub(gated, dtype, hub_token_set)
    return [*checks, judge_hub(gated, hub, in_use=gated == name)]


def probe_choice(name: str, dtype: str, wanted: str | None, on_gpu: bool) -> Choice:
    """What `name` stands for. Raises ModelUnavailable, ModelInvalid."""
    from farm.render.folder import describe, local_folder, read_card
    from farm.render.hub import REPOSITORIES
    from farm.render.weights import check_folder

    place = "a GPU" if on_gpu else "a CPU"
    why = "as set" if wanted else f"the default on {place}"
    info = describe(name)
    if name in REPOSITORIES:
        return Choice(info, None, REPOSITORIES[name], why)
    if name in KNOWN_MODELS:
        return Choice(info, NOTES.get(name), "built in", why)
    folder = local_folder(name)
    check_folder(folder, dtype)
    return Choice(info, read_card(folder).note, f"local folder {folder}", why)


def judge_choice(choice: Choice) -> Check:
    """Is it a model for films?"""
    info = choice.info
    told = f"{info.name} ({choice.note})" if choice.note else info.name
    size = f"{info.frame_count} frames, {info.width_px}x{info.height_px}"
    found = f"{told}: {choice.why}; {choice.source}; {size}"
    if choice.note == NOTES[TINY.name]:
        advice = "It tries the farm and makes no films: for these, take --model svd-xt on a GPU."
        return warn("model", found, advice)
    return ok("model", found)


def probe_hub(name: str, dtype: str, hub_token_set: bool) -> Hub:
    """What the hub's cache and its token file hold."""
    from huggingface_hub import constants

    from farm.render.hub import REPOSITORIES, cached

    token = "HF_TOKEN" if hub_token_set else ""
    path = Path(constants.HF_TOKEN_PATH)
    if not token and _holds_text(path):
        token = str(path)
    is_cached = cached(name, dtype, None) is not None
    return Hub(REPOSITORIES[name], is_cached, token, constants.HF_HUB_OFFLINE)


def _holds_text(path: Path) -> bool:
    # Not huggingface_hub.get_token: it may ask the network for a fresh one.
    try:
        return bool(path.read_text(encoding="utf-8").strip())
    except (OSError, ValueError):
        return False


def judge_hub(name: str, hub: Hub, *, in_use: bool) -> Check:
    """Can the gated weights be had?"""
    token = f"a token is set ({hub.token})" if hub.token else "no token is set"
    if hub.is_cached:
        return ok(name, f"in the hub's cache; {token}")
    found = f"not in the hub's cache; {token}"
    accept = f"accept the licence on huggingface.co/{hub.repository}"
    start = f"farm up --model {name}"
    if hub.is_offline:
        found += "; HF_HUB_OFFLINE is set"
        steps = "Unset HF_HUB_OFFLINE, or give --model the folder of a copy."
    elif hub.token:
        steps = f"The first `{start}` fetches them; {accept} before, if you have not."
    else:
        steps = f"{accept[0].upper()}{accept[1:]}, create a token there, then "
        steps += f"HF_TOKEN=... {start}."
    if not in_use:
        return ok(name, f"not in use here; {found}", steps)
    if hub.token and not hub.is_offline:
        return warn(name, found, steps)
    return fail(name, found, steps)
