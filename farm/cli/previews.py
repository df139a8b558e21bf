"""The previews of a job's shots on a terminal, each in place of its last."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Console, RenderableType
from rich.text import Text

from farm.cli import pictures
from farm.cli.exits import CommandFailed
from farm.cli.pictures import Protocol
from farm.cli.tables import printable
from svdfarm import Shot


@dataclass(frozen=True)
class _Shown:
    jpeg: bytes
    number: int = 0  # kitty's
    picture: Text | None = None  # with its title; None where it moves up with the text
    row_count: int = 0


class Previews:
    """What to show for the shots that render."""

    def __init__(self, console: Console, environment: Mapping[str, str]) -> None:
        """Raises CommandFailed where the terminal cannot show pictures."""
        self._console = console
        self._protocol = pictures.detect(environment)
        if self._protocol is Protocol.BLOCKS and console.color_system is None:
            raise CommandFailed(
                "--previews needs a terminal with colours; this one says it has none"
            )
        _require_pillow()
        self._shown: dict[str, _Shown] = {}
        # Other programs number their pictures in the same terminal, too.
        self._first_number = (secrets.randbelow(2**16 - 1) + 1) << 8
        self._count = 0

    def take(self, shot: Shot) -> None:
        """Shows the preview of a shot that has a new one, and no longer that of one that ended."""
        before = self._shown.get(shot.name)
        jpeg = shot.progress.preview if shot.progress is not None else None
        if jpeg is None:
            if before is not None:
                del self._shown[shot.name]
                self._forget(before)
        elif before is None or before.jpeg != jpeg:
            self._show(shot, jpeg, before)

    def fitting(self, height: int) -> list[RenderableType]:
        """The pictures that so many lines have room for, in order of their shots."""
        found: list[RenderableType] = []
        for _, shown in sorted(self._shown.items()):
            height -= shown.row_count
            if height < 0:
                break
            if shown.picture is not None:
                found.append(shown.picture)
        return found

    def close(self) -> None:
        """Frees what the terminal keeps."""
        for shown in self._shown.values():
            self._forget(shown)
        self._shown.clear()

    def _show(self, shot: Shot, jpeg: bytes, before: _Shown | None) -> None:
        picture = pictures.open_jpeg(jpeg)
        if picture is None:
            return
        columns, rows = pictures.size_cells(picture, self._console.width)
        name = f"{printable(shot.display_name)} step {shot.progress.step if shot.progress else 0}"
        if self._protocol is Protocol.ITERM2:
            self._console.print(Text(name, "dim"))
            self._console.print(pictures.iterm2_image(jpeg, columns, rows))
            self._shown[shot.name] = _Shown(jpeg)
            return
        number = before.number if before is not None else self._next_number()
        if self._protocol is Protocol.KITTY:
            self._console.print(pictures.kitty_image(picture, number, columns, rows), end="")
            drawn = pictures.kitty_placeholders(number, columns, rows)
        else:
            drawn = pictures.draw_blocks(picture, columns, rows)
        text = Text(f"{name}\n", "dim").append_text(drawn)
        self._shown[shot.name] = _Shown(jpeg, number, text, rows + 1)

    def _forget(self, shown: _Shown) -> None:
        if self._protocol is Protocol.KITTY:
            self._console.print(pictures.kitty_forget(shown.number), end="")

    def _next_number(self) -> int:
        self._count += 1
        return self._first_number + self._count % 256


def _require_pillow() -> None:
    try:
        import PIL  # noqa: F401 - it decodes them
    except ModuleNotFoundError as error:
        raise CommandFailed("--previews needs Pillow: pip install pillow") from error
