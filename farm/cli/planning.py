"""What `submit` does before the job exists: read, check, show and send a plan."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from farm.cli import as_json as json_lines
from farm.cli import tables
from farm.cli.exits import CommandFailed
from farm.cli.jobs_file.document import FileUnreadable
from farm.cli.jobs_file.expansion import Draw
from farm.cli.jobs_file.keys import ENCODING_KEYS, KEY_OF_FIELD, PARAM_KEYS, Key
from farm.cli.jobs_file.mistakes import Findings, JobsFileInvalid, Mistake
from farm.cli.jobs_file.plan import Plan, PlannedShot
from farm.cli.jobs_file.reader import read
from farm.cli.sidecar import sidecar_path
from svdfarm import Client, Estimate, JobHandle, NewShot, RenderParams, ShotRejected, fetch, images
from svdfarm.errors import ImageRejected

_READ_AT_ONCE = 8


def read_plan(path: Path, draw: Draw) -> Plan:
    """The plan in a jobs.yaml. Raises CommandFailed with every mistake in it."""
    try:
        return read(path, draw)
    except (FileUnreadable, JobsFileInvalid) as error:
        raise CommandFailed(str(error)) from error


def load_images(plan: Plan) -> Mapping[str, images.Image]:
    """Every image of the plan, read or fetched once, checked and hashed, by its path or URL.

    Raises CommandFailed that names the shots whose image cannot be used.
    """
    sources = list(dict.fromkeys(shot.image for shot in plan.shots))
    with ThreadPoolExecutor(_READ_AT_ONCE) as pool:
        loaded = dict(zip(sources, pool.map(_load, sources), strict=True))
    findings = Findings(plan.path, plan.text)
    for shot in plan.shots:
        found = loaded[shot.image]
        if isinstance(found, ImageRejected):
            findings.add(shot.place_of("image"), f"{shot.where}: image: {found}")
    try:
        findings.check()
    except JobsFileInvalid as error:
        raise CommandFailed(str(error)) from error
    return {source: image for source, image in loaded.items() if isinstance(image, images.Image)}


def check_targets(plan: Plan, folder: Path, *, receipts: bool) -> None:
    """Raises CommandFailed where a file is there that is to be saved, and cannot be the same one.

    With a seed in the file the video may come out byte for byte: that is seen when it is saved.
    """
    again = {shot.output_name for shot in plan.shots if "seed" in shot.places}
    check_names([shot.output_name for shot in plan.shots], folder, again, receipts=receipts)


def check_names(
    output_names: Iterable[str],
    folder: Path,
    again: Collection[str] = (),
    *,
    receipts: bool,
) -> None:
    """Raises CommandFailed where one of the files is there, unless it is a file of `again`."""
    taken = [
        path
        for name in output_names
        for path in _targets(folder / name, receipts=receipts)
        if os.path.lexists(path) and (name not in again or not path.is_file())
    ]
    if taken:
        more = f" and {len(taken) - 1} more are" if len(taken) > 1 else " is"
        raise CommandFailed(
            f"{taken[0]}{more} there already; give another --out, or --overwrite to replace"
        )


def _targets(video: Path, *, receipts: bool) -> list[Path]:
    return [video, sidecar_path(video)] if receipts else [video]


def send(
    client: Client,
    plan: Plan,
    loaded: Mapping[str, images.Image],
    request_id: str,
    *,
    webhook: str | None,
    use_cache: bool,
) -> JobHandle:
    """The job on the farm. What the farm refuses is told at its place in the file."""
    with _refusals_placed(plan):
        return client.submit(
            _shots(plan, loaded),
            display_name=plan.name,
            priority=plan.priority,
            webhook=plan.webhook if webhook is None else webhook,
            request_id=request_id,
            use_cache=use_cache,
        )


def estimate(
    client: Client, plan: Plan, loaded: Mapping[str, images.Image], *, use_cache: bool
) -> Estimate:
    """What the job would take of the farm, which refuses it as `send` would be refused."""
    with _refusals_placed(plan):
        return client.estimate(_shots(plan, loaded), priority=plan.priority, use_cache=use_cache)


def _shots(plan: Plan, loaded: Mapping[str, images.Image]) -> list[NewShot]:
    return [
        NewShot(
            image=loaded[shot.image],
            params=RenderParams(**dataclasses.asdict(shot.params)),
            name=shot.name,
            output_name=shot.output_name,
        )
        for shot in plan.shots
    ]


@contextmanager
def _refusals_placed(plan: Plan) -> Iterator[None]:
    try:
        yield
    except ShotRejected as error:
        raise CommandFailed(str(_placed(plan, error))) from error


def show(plan: Plan, *, as_json: bool) -> None:
    """Prints the shots as they would be submitted; null stands for the farm's default."""
    if as_json:
        for shot in plan.shots:
            print(json_lines.line({"event": "planned", **_planned(shot)}), flush=True)  # noqa: T201
        return
    columns = [
        key
        for key in (*PARAM_KEYS.values(), *ENCODING_KEYS.values())
        if any(_cell(shot, key) for shot in plan.shots)
    ]
    rows = [
        [shot.name, _short(shot.image), *(_cell(shot, key) for key in columns), shot.output_name]
        for shot in plan.shots
    ]
    tables.show(["SHOT", "IMAGE", *(key.name.upper() for key in columns), "OUTPUT"], rows)


def _load(source: str) -> images.Image | ImageRejected:
    try:
        return images.load_url(source) if images.is_url(source) else images.load_file(Path(source))
    except ImageRejected as error:
        return error


def _cell(shot: PlannedShot, key: Key) -> str:
    given = [getattr(shot.params, field) for field in key.fields]
    if key.name == "model":
        return tables.model_name(shot.params.model)
    return "x".join(str(value) for value in given if value is not None)


def _planned(shot: PlannedShot) -> dict[str, object]:
    return {
        "name": shot.name,
        "image": shot.image,
        "output_name": shot.output_name,
        "params": dataclasses.asdict(shot.params),
    }


def _placed(plan: Plan, error: ShotRejected) -> JobsFileInvalid:
    """The farm's refusal at the lines of the file that it is about."""
    mistakes = []
    for violation in error.violations:
        index, field = violation.shot_index, violation.shot_field
        if index is None or index >= len(plan.shots):
            continue
        shot = plan.shots[index]
        key = KEY_OF_FIELD.get(field or "", field or "")
        told = f"{shot.where}: {key} {violation.message}"
        mistakes.append(Mistake(shot.place_of(field), told))
    return JobsFileInvalid(plan.path, plan.text, mistakes)


def _short(source: str) -> str:
    return fetch.shorten(source) if images.is_url(source) else source
