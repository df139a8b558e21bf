"""The engine in this process: loaded, and shown at work on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from farm.jobs.params import default_model

if TYPE_CHECKING:
    from farm.render.renderer import EngineRenderer, OnStep


def load_renderer(
    model: str | None,
    *,
    device: str,
    dtype: str | None,
    engine: str,
    model_offload: bool,
    forward_chunking: bool,
    memory: str,
    deterministic: bool,
    threads: int | None,
    revision: str | None = None,
) -> EngineRenderer:
    """The renderer of a model, None for the default one. Raises RenderError."""
    with _told(f"loading {model or 'the model'}"):
        from farm.render import cpu
        from farm.render.determinism import use_determinism
        from farm.render.engine import Engine
        from farm.render.load import choose_device, load
        from farm.render.memory import Memory, choose_memory
        from farm.render.renderer import EngineRenderer

        on_cpu = choose_device(device).type == "cpu"
        if on_cpu:
            cpu.keep_freed_memory()
        if threads is not None:
            cpu.use_threads(threads)
        use_determinism(deterministic)
        name = model or default_model(on_gpu=not on_cpu)
        loaded = load(name, device=device, dtype=dtype, revision=revision)
        asked = Memory(model_offload=model_offload, forward_chunking=forward_chunking)
        built = Engine(loaded, engine, choose_memory(memory, asked, loaded.device)[1])
        built.warm_up(lambda progress: note(str(progress)))
        renderer = EngineRenderer(built)
    told = f"model {renderer.info.name} on {renderer.device}"
    note(f"{told}: {renderer.note}" if renderer.note else told)
    return renderer


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
def steps(name: str) -> Iterator[OnStep | None]:
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


def note(text: str) -> None:
    """Tells the user something that is no result."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201
