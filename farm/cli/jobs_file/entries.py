"""The parts of a jobs.yaml as they are written: settings, output and the items of shots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import yaml

from farm.cli.jobs_file import keys, values
from farm.cli.jobs_file.document import describe
from farm.cli.jobs_file.keys import ENCODING_KEYS, PARAM_KEYS, Key, Kind
from farm.cli.jobs_file.mistakes import Findings, Place
from farm.jobs import names, sweep
from farm.jobs.params import MAX_SHOTS_PER_JOB, RANGES


@dataclass(frozen=True)
class Settings:
    """Fields of RenderParams that the file sets, and where, by key."""

    fields: Mapping[str, object] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)

    def over(self, defaults: Settings) -> Settings:
        """These settings, and `defaults` where they are silent."""
        return Settings({**defaults.fields, **self.fields}, {**defaults.places, **self.places})


@dataclass(frozen=True)
class Output:
    """Where the videos go and what they are called."""

    folder: str | None = None
    template: str = names.OUTPUT_NAME_DEFAULT
    place: Place | None = None  # of the template
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True)
class Swept:
    """The values of one swept key: the fields of each, and where it stands."""

    key: str
    options: Sequence[Mapping[str, object]]
    places: Sequence[Place]


@dataclass(frozen=True)
class Entry:
    """One item of shots, before it is expanded."""

    where: str  # for messages: shots[1] "wild"
    number: int  # from 1
    name: str | None
    image: str
    settings: Settings  # the places of name, image and, under "", of the entry are in it
    swept: Sequence[Swept]
    combine: str
    count: int  # combinations of the sweep


def read_settings(given: Mapping[str, yaml.Node], told: str, findings: Findings) -> Settings:
    """The settings of a clip among the keys of a mapping."""
    fields: dict[str, object] = {}
    places: dict[str, Place] = {}
    for name, node in given.items():
        key = PARAM_KEYS.get(name) or ENCODING_KEYS.get(name)
        if key is not None:
            places[name] = Place.of(node)
            fields.update(values.setting(key, node, told, findings) or {})
    return Settings(fields, places)


def read_output(node: yaml.Node | None, findings: Findings) -> Output:
    """The mapping under `output:`; all of it may be left out."""
    if node is None:
        return Output()
    given = values.mapping(node, keys.OUTPUT_KEYS, "output", findings)
    folder = template = place = None
    if dir_node := given.get("dir"):
        folder = values.text(dir_node, "output.dir", findings)
    if name_node := given.get("name"):
        place = Place.of(name_node)
        template = values.text(name_node, "output.name", findings)
        try:
            names.template_fields(template or "")
        except names.NameInvalid as error:
            findings.add(name_node, str(error))
    return Output(
        folder,
        template or names.OUTPUT_NAME_DEFAULT,
        place,
        read_settings(given, "output.", findings),
    )


def read_entries(
    node: yaml.Node | None, document: yaml.Node, findings: Findings
) -> Sequence[Entry]:
    """The items of `shots:`, none of them expanded; never more shots than a job may hold."""
    if node is None:
        hint = "Write shots: and below it one line for each: - {image: photo.jpg}"
        findings.add(document, "shots is missing", hint)
        return []
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        given = "an empty list" if isinstance(node, yaml.SequenceNode) else describe(node)
        findings.add(node, f"shots is {given}; allowed: a list such as [{{image: photo.jpg}}]")
        return []
    if len(node.value) > MAX_SHOTS_PER_JOB:
        findings.add(node, f"shots has {len(node.value)} items; {_AT_MOST}")
        return []
    entries = [_entry(item, index, findings) for index, item in enumerate(node.value)]
    found = [entry for entry in entries if entry is not None]
    total = sum(entry.count for entry in found)
    if total > MAX_SHOTS_PER_JOB:
        findings.add(node, f"shots makes {total} with its sweeps; {_AT_MOST}")
        return []
    return found


_AT_MOST = f"allowed: at most {MAX_SHOTS_PER_JOB} shots a job"


def _entry(node: yaml.Node, index: int, findings: Findings) -> Entry | None:
    where = f"shots[{index}]"
    if isinstance(node, yaml.ScalarNode):
        hint = f"Write {{image: {describe(node)}}}."
        findings.add(node, f"{where} is {describe(node)}; allowed: a mapping", hint)
        return None
    given = values.mapping(node, keys.SHOT_KEYS, where, findings)
    name = image = None
    if name_node := given.get("name"):
        name = values.text(name_node, f"{where}.name", findings)
        if name is not None:
            where = f'{where} "{name}"'
            try:
                names.check_shot_name(name)
            except names.NameInvalid as error:
                findings.add(name_node, f"{where}: {error}")
    if image_node := given.get("image"):
        image = values.text(image_node, f"{where}: image", findings)
    elif isinstance(node, yaml.MappingNode):
        findings.add(node, f"{where}: image is missing", "Give a path, a glob or a URL.")
    settings = read_settings(given, f"{where}: ", findings)
    swept = _sweep(given.get("sweep"), f"{where}: ", findings)
    for one in swept:
        if one.key in given:
            findings.add(
                settings.places[one.key], f"{where}: {one.key} is given here and under sweep"
            )
    combine = "product"
    if combine_node := given.get("combine"):
        chosen = values.choice(combine_node, keys.COMBINE_CHOICES, f"{where}: combine", findings)
        combine = chosen or combine
        if "sweep" not in given:
            findings.add(combine_node, f"{where}: combine without sweep has no meaning")
    try:
        count = sweep.count({one.key: one.options for one in swept}, combine)
    except sweep.SweepInvalid as error:
        findings.add(given["sweep"], f"{where}: sweep: {error}")
        return None
    if image is None:
        return None
    places = {key: Place.of(given[key]) for key in ("name", "image") if key in given}
    places |= {"": Place.of(node), **settings.places}
    settings = Settings(settings.fields, places)
    return Entry(where, index + 1, name, image, settings, swept, combine, count)


def _sweep(node: yaml.Node | None, told: str, findings: Findings) -> Sequence[Swept]:
    if node is None:
        return []
    given = values.mapping(node, tuple(PARAM_KEYS), f"{told}sweep", findings)
    if isinstance(node, yaml.MappingNode) and not node.value:
        findings.add(node, f"{told}sweep is empty; allowed: lists of values by key")
    return [_swept(PARAM_KEYS[name], value, told, findings) for name, value in given.items()]


def _swept(key: Key, node: yaml.Node, told: str, findings: Findings) -> Swept:
    options: list[Mapping[str, object]] = []
    if isinstance(node, yaml.SequenceNode):
        if not node.value:
            findings.add(node, f"{told}sweep.{key.name} is an empty list; give at least one value")
        if len(node.value) > MAX_SHOTS_PER_JOB:
            findings.add(node, f"{told}sweep.{key.name} has {len(node.value)} values; {_AT_MOST}")
            return Swept(key.name, [{}], [Place.of(node)])
        options += [
            values.setting(key, item, f"{told}sweep.", findings) or {} for item in node.value
        ]
        return Swept(key.name, options, [Place.of(item) for item in node.value])
    if key.kind is not Kind.WHOLE or not isinstance(node, yaml.ScalarNode):
        findings.add(node, f"{told}sweep.{key.name} is {describe(node)}; allowed: a list of values")
        return Swept(key.name, [{}], [Place.of(node)])
    try:
        span = sweep.values(node.value)
    except sweep.SweepInvalid as error:
        findings.add(node, f"{told}sweep.{key.name}: {error}")
        return Swept(key.name, [{}], [Place.of(node)])
    allowed = RANGES[key.fields[0]]
    for end in (span[0], span[-1]):
        if not allowed.admits(end):
            findings.add(node, f"{told}sweep.{key.name} is {end} at an end; allowed: {allowed}")
    options = [{key.fields[0]: value} for value in span]
    return Swept(key.name, options, [Place.of(node)] * len(options))
