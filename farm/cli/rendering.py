"""What `farm render` does: check everything, load the model once, render image by image."""

from __future__ import annotations

import dataclasses
import random
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm.cli.exits import CommandFailed, Exit
from farm.cli.following import check_writable
from farm.jobs.params import DEFAULTS, Fit, RenderParams, default_model, problems, resolve
from svdfarm import images
from svdfarm.errors import ImageRejected

if TYPE_CHECKING:
    from farm.render.renderer import EngineRenderer, OnStep, Rendered

_SIZE = re.compile(r"([0-9]{1,6})x([0-9]{1,6})")
_FRAME = re.compile(r"[0-9]{5}\.png")
_CHOICES: Mapping[str, Sequence[str]] = {
    "format": ("mp4", "png"),
    "device": ("auto", "cpu", "cuda"),
    "dtype": ("float32", "float16", "bfloat16"),
    "engine": ("default", "stock"),
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
    file_format: str
    device: str
    dtype: str | None
    engine: str
    model_offload: bool
    forward_chunking: bool
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
    if values["fit"] is not None and values["fit"] not in tuple(Fit):
        raise CommandFailed(f"--fit is {values['fit']!r}; allowed: {', '.join(Fit)}")
    if size is not None:
        match = _SIZE.fullmatch(size)
        if match is None:
            raise CommandFailed(f"--size is {size!r}; allowed: WIDTHxHEIGHT, such as 1024x576")
        values |= {"width_px": int(match[1]), "height_px": int(match[2])}
    if values["fit"] is not None:
        values["fit"] = Fit(values["fit"])
    params = RenderParams(**values)
    _check(params)
    return params


def render(request: Request) -> Exit:
    """Renders every image; nothing is started unless everything can be."""
    for name in _CHOICES:
        _check_choice(name, getattr(request, "file_format" if name == "format" else name))
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
        renderer = _renderer(request)
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
    filled = dataclasses.replace(
        DEFAULTS, **{k: v for k, v in vars(params).items() if v is not None}
    )
    told = [
        f"--{_flag(problem.field)} is {problem.given}; allowed: {problem.allowed}"
        for problem in problems(filled)
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
            folder = request.folder
            target = folder / name if request.file_format == "png" else folder / f"{name}.mp4"
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


def _renderer(request: Request) -> EngineRenderer:
    with _told(f"loading {request.model or 'the model'}"):
        from farm.render import cpu
        from farm.render.engine import Engine
        from farm.render.load import choose_device, load
        from farm.render.memory import Memory
        from farm.render.renderer import EngineRenderer

        on_cpu = choose_device(request.device).type == "cpu"
        if on_cpu:
            cpu.keep_freed_memory()
        if request.threads is not None:
            cpu.use_threads(request.threads)
        name = request.model or default_model(on_gpu=not on_cpu)
        model = load(name, device=request.device, dtype=request.dtype)
        memory = Memory(
            model_offload=request.model_offload, forward_chunking=request.forward_chunking
        )
        renderer = EngineRenderer(Engine(model, request.engine, memory))
    told = f"model {renderer.info.name} on {renderer.device}"
    _note(f"{told}: {renderer.note}" if renderer.note else told)
    return renderer


def _resolved(request: Request, renderer: EngineRenderer) -> RenderParams:
    seed = random.randrange(2**31)  # noqa: S311
    params = resolve(request.params, renderer.info, seed)
    _check(params)
    return params


def _render(clip: _Clip, params: RenderParams, request: Request, renderer: EngineRenderer) -> None:
    if request.params.seed is None:
        _note(f"{clip.name}: seed {params.seed}")
    with _steps(clip.name) as on_step:
        rendered = renderer.render(clip.image.read(), params, on_step)
        if request.file_format == "mp4":
            rendered.write(clip.target)
        else:
            _write_frames(rendered, clip.target)
    print(f"saved {clip.target}", flush=True)  # noqa: T201


def _write_frames(rendered: Rendered, folder: Path) -> None:
    from farm.render.encode import write_frames

    written = write_frames(rendered.frames, folder)
    for old in folder.iterdir():  # of a longer clip that is overwritten
        if _FRAME.fullmatch(old.name) and old not in written:
            old.unlink()


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Shows a spinner on a terminal: loading can take a minute."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


@contextmanager
def _steps(name: str) -> Iterator[OnStep | None]:
    """What to call after every step, which moves a bar on a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        bar = progress.add_task(escape(name), total=None, told="encoding the image")

        def on_step(done: int, total: int) -> None:
            told = f"step {done}/{total}" if done < total else "decoding"
            progress.update(bar, completed=done, total=total, told=told)

        yield on_step


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201
