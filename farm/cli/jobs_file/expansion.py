"""Entries into shots: sweeps multiplied out, globs matched, every file named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from farm.cli.jobs_file.entries import Entry, Output, Settings
from farm.cli.jobs_file.keys import KEY_OF_FIELD
from farm.cli.jobs_file.mistakes import Findings, Place
from farm.cli.jobs_file.plan import PlannedShot
from farm.jobs import names, params, sweep
from farm.jobs.params import KNOWN_MODELS, MAX_SHOTS_PER_JOB, RenderParams
from svdfarm import images
from svdfarm.errors import ImageRejected

Draw = Callable[[int], int]  # the shot's number, from 0, to a seed

# The fields of RenderParams that a template names in another way.
_TEMPLATE_FIELDS: Mapping[str, str] = {
    "width": "width_px",
    "height": "height_px",
    "frames": "frame_count",
    "steps": "step_count",
}


def expand(
    entries: Sequence[Entry],
    base: Settings,
    output: Output,
    folder: Path,
    draw: Draw,
    findings: Findings,
) -> Sequence[PlannedShot]:
    """One shot per entry, file and combination of swept values. Paths are relative to `folder`."""
    sources = [_sources(entry, folder, findings) for entry in entries]
    total = sum(e.count * len(found) for e, found in zip(entries, sources, strict=True))
    if total > MAX_SHOTS_PER_JOB:
        glob = max(zip(sources, entries, strict=True), key=lambda pair: len(pair[0]))[1]
        findings.add(
            glob.settings.places["image"],
            f"{total} shots with all files that match; allowed: at most {MAX_SHOTS_PER_JOB} a job",
        )
        return []
    shots: list[PlannedShot] = []
    for entry, found in zip(entries, sources, strict=True):
        for name, source, settings in _variants(entry, found, base):
            shot = _shot(entry, name, source, settings, findings)
            number = len(shots)
            shots.append(_named(shot, number, lambda: draw(number), output, findings))  # noqa: B023
    _refuse_same_names(shots, findings)
    return shots


def _sources(entry: Entry, folder: Path, findings: Findings) -> Sequence[str]:
    """The paths or the one URL that `image` means."""
    if images.is_url(entry.image):
        return [entry.image]
    try:
        return [str(path) for path in images.find(entry.image, folder=folder)]
    except (ImageRejected, ValueError, OSError) as error:
        findings.add(entry.settings.places["image"], f"{entry.where}: image: {error}")
        return []


def _variants(
    entry: Entry, sources: Sequence[str], base: Settings
) -> Iterator[tuple[str, str, Settings]]:
    """Name, source and settings of each shot. Several of one name are numbered from 01."""
    settings = entry.settings.over(base)
    count = entry.count if entry.name is None else entry.count * len(sources)
    number = 0
    for source in sources:
        if entry.name is None:
            number = 0
        for swept in _combinations(entry):
            number += 1
            name = entry.name or _stem(source) or f"shot-{entry.number}"
            numbered = f"{name}-{number:0{max(2, len(str(count)))}}" if count > 1 else name
            yield numbered, source, swept.over(settings)


def _combinations(entry: Entry) -> Iterator[Settings]:
    values = {swept.key: range(len(swept.options)) for swept in entry.swept}
    by_key = {swept.key: swept for swept in entry.swept}
    for row in sweep.combinations(values, entry.combine):
        fields: dict[str, object] = {}
        places: dict[str, Place] = {}
        for key, option in row.items():
            fields |= by_key[key].options[int(str(option))]
            places[key] = by_key[key].places[int(str(option))]
        yield Settings(fields, places)


def _stem(source: str) -> str:
    if source.lower().startswith("data:"):
        return ""
    try:
        path = unquote(urlsplit(source).path) if images.is_url(source) else source
    except ValueError:  # no URL: told where it is fetched
        return ""
    stem = PurePosixPath(path).stem
    return names.shot_name_from_file(stem) if stem else ""


def _shot(
    entry: Entry, name: str, source: str, settings: Settings, findings: Findings
) -> PlannedShot:
    """The shot without its output name, its settings checked against each other."""
    where = entry.where if entry.count == 1 else f"{entry.where}: {name}"
    fields: dict[str, Any] = dict(settings.fields)
    shot = PlannedShot(name, "", source, RenderParams(**fields), where, settings.places)
    filled = params.with_defaults(shot.params)
    for problem in params.problems(filled):
        key = KEY_OF_FIELD[problem.field]
        told = f"{where}: {key} is {problem.given}; allowed: {problem.allowed}"
        findings.add(_place_of_conflict(shot, key), told)
    return shot


def _place_of_conflict(shot: PlannedShot, key: str) -> Place:
    """Of two settings that contradict each other, the one that the file sets."""
    if key not in shot.places and key == "min_guidance_scale":
        key = "max_guidance_scale"
    return shot.places.get(key, shot.places[""])


def _named(
    shot: PlannedShot, number: int, draw: Callable[[], int], output: Output, findings: Findings
) -> PlannedShot:
    """The shot with its output name, and with every setting that the name shows made explicit."""
    container = shot.params.container
    shown: dict[str, object] = {"shot": shot.name, "index": number + 1, "extension": container}
    explicit: dict[str, Any] = {}
    model = KNOWN_MODELS.get(shot.params.model or "")
    for name in names.template_fields(output.template) - shown.keys():
        field = _TEMPLATE_FIELDS.get(name, name)
        value = getattr(shot.params, field)
        if value is None and field == "seed":
            value = draw()
        if value is None:
            value = getattr(params.with_defaults(shot.params), field)
        if value is None and model is not None:
            value = getattr(model, field, None)
        if value is None:
            key = KEY_OF_FIELD[field]
            findings.add(
                output.place or shot.places[""],
                f"output.name uses {{{name}}}, which {shot.where} does not set",
                f"Set {key}: there or under defaults: the farm's default is not known here.",
            )
            return shot
        shown[name] = explicit[field] = value
    try:
        output_name = names.fill_template(output.template, shown, container)
        names.check_shot_name(shot.name)
    except names.NameInvalid as error:
        findings.add(shot.place_of("name"), f"{shot.where}: {error}")
        return shot
    return replace(shot, output_name=output_name, params=replace(shot.params, **explicit))


def _refuse_same_names(shots: Sequence[PlannedShot], findings: Findings) -> None:
    first: dict[str, PlannedShot] = {}
    for shot in shots:
        # Some file systems take two names for one that differ in case only.
        other = first.setdefault(shot.output_name.casefold(), shot)
        if other is shot or not shot.output_name:
            continue
        findings.add(
            shot.place_of("name"),
            f"{shot.where}: its video would be {shot.output_name}, as that of {other.where}",
            "Give the shots different names, or output.name more fields: "
            '"{shot}_{index}.{extension}".',
        )
