"""What workers say of themselves, checked: tenants and operators are shown it."""

from __future__ import annotations

from dataclasses import replace

from farm.gateway.wall import invalid
from farm.jobs.params import RANGES, SVD, SVD_XT, ModelInfo
from farm.jobs.tiers import model_of
from farm.wire import model_from_wire
from svdfarm.v1 import resources_pb2

_FIXED = {model.name: model for model in (SVD, SVD_XT)}  # nobody else's sizes, in any version
_ABOUT_LIMIT_BYTES = 64 * 1024
_MODEL_NAME_LIMIT = 120  # the store keeps 128 of it with its tier
_DURATION_LIMIT_S = 30 * 86400.0


def read_models(about: resources_pb2.Worker) -> list[ModelInfo]:
    """The models that a worker serves. Raises Refusal for what nobody could be told or given."""
    if (size_bytes := about.ByteSize()) > _ABOUT_LIMIT_BYTES:
        raise invalid("worker", f"has {size_bytes} bytes; allowed: {_ABOUT_LIMIT_BYTES}")
    return [_checked(model_from_wire(model)) for model in about.models]


def check_progress(progress: resources_pb2.Progress) -> None:
    """Raises Refusal for steps that no shot has."""
    most = RANGES["step_count"]
    if not 0 <= progress.step <= progress.step_count or not most.admits(progress.step_count):
        told = f"is {progress.step} of {progress.step_count}; allowed: 0 to a step count of {most}"
        raise invalid("progress.step", told)


def read_duration_s(told_s: float) -> float:
    """How long a worker says that it rendered, within what is possible."""
    return min(max(told_s, 0.0), _DURATION_LIMIT_S)


def _checked(model: ModelInfo) -> ModelInfo:
    known = _FIXED.get(model.name)
    if known is not None and replace(model, identity=known.identity, tiers=known.tiers) != known:
        raise invalid("worker.models", f"has another {model.name} than the farm knows")
    if not 0 < len(model.name) <= _MODEL_NAME_LIMIT or not model.name.isprintable():
        allowed = f"1 to {_MODEL_NAME_LIMIT} printable characters"
        raise invalid("worker.models", f"has the name {model.name[:50]!r}; allowed: {allowed}")
    if model_of(model.name) != model.name:  # nobody shall serve a tier under a model's name
        raise invalid("worker.models", f"has the name {model.name[:50]!r}; allowed: one without /")
    for field in ("width_px", "height_px", "frame_count", "step_count"):
        value, allowed_range = getattr(model, field), RANGES[field]
        if not allowed_range.admits(value):
            told = f"has {model.name[:50]} with {field} {value}; allowed: {allowed_range}"
            raise invalid("worker.models", told)
    return model
