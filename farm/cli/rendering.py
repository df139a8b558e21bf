"""What `farm render` does: check everything, load the model once, render image by image."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm.cli.exits import CommandFailed, Exit
from farm.cli.following import check_writable
from farm.cli.in_process import load_renderer, note, steps
from farm.cli.sizes import read_sides_px
from farm.jobs.codec import Codec
from farm.jobs.params import Fit, RenderParams, problems, resolve, with_defaults
from farm.jobs.tiers import Tier
from svdfarm import images
from svdfarm.errors import ImageRejected

if TYPE_CHECKING:
    from farm.render.renderer import EngineRenderer

_CHOICES: Mapping[str, Sequence[str]] = {
    "device": ("auto", "cpu", "cuda"),
    "dtype": ("float32", "float16", "bfloat16"),
    "engine": ("default", "compiled", "stock"),
    "memory": ("auto", "fast", "balanced", "low"),
}
_FLAGS = {
    "width_px": "size: width",
    "height_px": "size: height",
    "frame_count": "frames",
    "step_count": "steps",
}


@dataclass(frozen=True)
class Request:
    """The flags of `farm render`."""

    images: Sequence[str]
    folder: Path
    params: RenderParams  # as given: None is the default
    model: str | None
    device: str
    dtype: str | None
    engine: str
    model_offload: bool
    forward_chunking: bool
    memory: str
    deterministic: bool
    threads: int | None
    overwrite: bool


@dataclass(frozen=True)
class _Clip:
    name: str
    image: images.Image
    target: Path


def read_params(size: str | None, given: Mapping[str, Any]) -> RenderParams:
    """The settings that the flags give. Raises CommandFailed that names the flag."""
    values = dict(given)
    for name, kind in (("fit", Fit), ("codec", Codec), ("tier", Tier)):
        if values[name] is None:
            continue
        if values[name] not in tuple(kind):
            raise CommandFailed(f"--{name} is {values[name]!r}; allowed: {', '.join(kind)}")
        values[name] = kind(values[name])
    if size is not None:
        values["width_px"], values["height_px"] = read_sides_px(size)
    params = RenderParams(**values)
    _check(params)
    return params


def render(request: Request) -> Exit:
    """Renders every image; nothing is started unless everything can be."""
    for name in _CHOICES:
        _check_choice(name, getattr(request, name))
    clips = _clips(request)

    from farm.render.errors import RenderCancelled, RenderError
    from farm.render.folder import describe
    from farm.render.image import open_image

    for clip in clips:
        try:
            open_image(clip.image.read())
        except RenderError as error:
            raise CommandFailed(f"{clip.image.origin}: {error}") from error
    try:
        if request.model is not None:  # faults are told before torch is loaded
            _check(resolve(request.params, describe(request.model), seed=0))
        check_writable(request.folder)
        renderer = load_renderer(
            request.model,
            device=request.device,
            dtype=request.dtype,
            engine=request.engine,
            model_offload=request.model_offload,
            forward_chunking=request.forward_chunking,
            memory=request.memory,
            deterministic=request.deterministic,
            threads=request.threads,
        )
        params = {clip.name: _resolved(request, renderer) for clip in clips}
        for clip in clips:
            _render(clip, params[clip.name], request, renderer)
    except RenderCancelled as error:
        raise CommandFailed(str(error), Exit.CANCELLED) from error
    except RenderError as error:
        raise CommandFailed(str(error)) from error
    except KeyboardInterrupt:
        raise CommandFailed("stopped", Exit.INTERRUPTED) from None
    return Exit.SUCCEEDED


def _check(params: RenderParams) -> None:
    told = [
        f"--{_flag(problem.field)} is {problem.given}; allowed: {problem.allowed}"
        for problem in problems(with_defaults(params))
    ]
    if told:
        raise CommandFailed("\nerror: ".join(told))


def _flag(field: str) -> str:
    return _FLAGS.get(field, field.replace("_", "-"))


def _check_choice(name: str, given: str | None) -> None:
    if given is not None and given not in _CHOICES[name]:
        raise CommandFailed(f"--{name} is {given!r}; allowed: {', '.join(_CHOICES[name])}")


def _clips(request: Request) -> Sequence[_Clip]:
    """Every image with its name and target. Raises CommandFailed where two would be one."""
    clips: dict[str, _Clip] = {}
    for source in request.images:
        try:
            found = images.load(source)
        except ImageRejected as error:
            raise CommandFailed(str(error)) from error
        for image in found:
            name = image.stem or "image"
            target = request.folder / f"{name}.{request.params.container}"
            other = clips.setdefault(name.casefold(), _Clip(name, image, target))
            if other.image is not image:
                raise CommandFailed(
                    f"{other.image.origin} and {image.origin} would both be {other.target}; "
                    "rename one, or render them one by one with another -o"
                )
    for clip in clips.values():
        if clip.target.exists() and not request.overwrite:
            raise CommandFailed(
                f"{clip.target} is there already; give another -o, or --overwrite to replace it"
            )
    return list(clips.values())


def _resolved(request: Request, renderer: EngineRenderer) -> RenderParams:
    seed = random.randrange(2**31)  # noqa: S311
    params = resolve(request.params, renderer.info, seed)
    _check(params)
    return params


def _render(clip: _Clip, params: RenderParams, request: Request, renderer: EngineRenderer) -> None:
    if request.params.seed is None:
        note(f"{clip.name}: seed {params.seed}")
    with steps(clip.name) as on_step:
        renderer.render(clip.image.read(), params, on_step).write(clip.target)
    print(f"saved {clip.target}", flush=True)  # noqa: T201
