"""What a jobs.yaml asks for: a job and its shots, expanded and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from farm.cli.jobs_file.keys import KEY_OF_FIELD
from farm.cli.jobs_file.mistakes import Place
from farm.jobs.params import RenderParams


@dataclass(frozen=True)
class PlannedShot:
    """One shot as it will be submitted, and where in the file each part of it stands."""

    name: str
    output_name: str
    image: str  # a path as it can be opened from here, or a URL
    params: RenderParams
    where: str  # the entry, for messages: shots[1] "wild"
    places: Mapping[str, Place]  # by key; "" is the entry itself

    def place_of(self, field: str | None) -> Place:
        """Where the file sets a field of the wire or a key; else the shot's entry."""
        key = {"display_name": "name"}.get(field or "", KEY_OF_FIELD.get(field or "", field or ""))
        return self.places.get(key, self.places[""])


@dataclass(frozen=True)
class Plan:
    """A whole jobs.yaml."""

    path: str
    text: str
    name: str
    priority: int
    webhook: str
    output_dir: str | None
    shots: Sequence[PlannedShot]
