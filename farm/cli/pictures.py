"""Pictures in a terminal: as kitty takes them, as iTerm2 does, or as coloured half blocks."""

from __future__ import annotations

import base64
import enum
import io
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from rich.color import Color
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import ControlType, Segment
from rich.style import Style
from rich.text import Text

if TYPE_CHECKING:
    from PIL import Image

_WIDTH_CELLS = 72  # at most: three frames side by side, and few lines
_CHUNK = 4096  # of kitty's protocol
_PLACEHOLDER = "\U0010eeee"
# Of kitty's rowcolumn-diacritics.txt, the first: how a placeholder says its row and column.
_DIACRITICS = (
    "\u0305\u030d\u030e\u0310\u0312\u033d\u033e\u033f\u0346\u034a\u034b\u034c"
    "\u0350\u0351\u0352\u0357\u035b\u0363\u0364\u0365\u0366\u0367\u0368\u0369"
)


class Protocol(enum.Enum):
    """How a terminal takes pictures."""

    KITTY = enum.auto()  # its graphics protocol with Unicode placeholders: pictures are text
    ITERM2 = enum.auto()  # inline images, where the cursor is
    BLOCKS = enum.auto()  # none: two pixels are one upper half block


def detect(environment: Mapping[str, str]) -> Protocol:
    """What the terminal takes, by the variables that terminals document."""
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if "TMUX" in environment or term.startswith(("screen", "tmux")):
        return Protocol.BLOCKS  # it passes no picture on, though the variables of others are there
    if "KITTY_WINDOW_ID" in environment or term in ("xterm-kitty", "xterm-ghostty"):
        return Protocol.KITTY
    if program in ("iTerm.app", "WezTerm") or environment.get("LC_TERMINAL") == "iTerm2":
        return Protocol.ITERM2
    return Protocol.BLOCKS


class Escape:
    """A sequence for the terminal, which takes no room in the text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # Which control code it is nobody reads; with none it would be cut off at the line's end.
        yield Segment(self._text, None, [(ControlType.BELL,)])


def open_jpeg(jpeg: bytes) -> Image.Image | None:
    """The picture; None where it cannot be decoded."""
    from PIL import Image

    try:
        return Image.open(io.BytesIO(jpeg), formats=["JPEG"]).convert("RGB")
    except (OSError, Image.DecompressionBombError):
        return None


def size_cells(picture: Image.Image, width_cells: int) -> tuple[int, int]:
    """Columns and rows for a picture where so many columns are free; a cell is twice as high."""
    columns = max(1, min(_WIDTH_CELLS, width_cells))
    rows = math.ceil(columns * picture.height / picture.width / 2)
    if rows > len(_DIACRITICS):
        columns = max(1, columns * len(_DIACRITICS) // rows)
        rows = len(_DIACRITICS)
    return columns, rows


def draw_blocks(picture: Image.Image, columns: int, rows: int) -> Text:
    """The picture as text: each cell shows two pixels, one above the other."""
    from PIL import Image

    small = picture.resize((columns, rows * 2), Image.Resampling.LANCZOS)
    text = Text(no_wrap=True)
    data = small.tobytes()

    def colour(x: int, y: int) -> Color:
        start = (y * columns + x) * 3
        return Color.from_rgb(*data[start : start + 3])

    for row in range(rows):
        for x in range(columns):
            text.append("▀", Style(color=colour(x, 2 * row), bgcolor=colour(x, 2 * row + 1)))
        if row < rows - 1:
            text.append("\n")
    return text


def kitty_image(picture: Image.Image, number: int, columns: int, rows: int) -> Escape:
    """Gives kitty a picture to show where the placeholders of its number stand."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    chunks = list(_chunks(base64.b64encode(file.getvalue()).decode()))
    control = f"a=T,U=1,f=100,q=2,i={number},c={columns},r={rows},"
    parts = []
    for index, chunk in enumerate(chunks):
        more = int(index < len(chunks) - 1)
        parts.append(f"\x1b_G{control if not index else ''}m={more};{chunk}\x1b\\")
    return Escape("".join(parts))


def kitty_placeholders(number: int, columns: int, rows: int) -> Text:
    """The text in whose place kitty shows the picture of a number below 2^24."""
    style = Style(color=Color.from_rgb(number >> 16, number >> 8 & 255, number & 255))
    lines = (
        f"{_PLACEHOLDER}{_DIACRITICS[row]}{_DIACRITICS[0]}" + _PLACEHOLDER * (columns - 1)
        for row in range(rows)
    )
    return Text("\n".join(lines), style, no_wrap=True)


def kitty_forget(number: int) -> Escape:
    """Has kitty free a picture."""
    return Escape(f"\x1b_Ga=d,d=I,q=2,i={number}\x1b\\")


def iterm2_image(jpeg: bytes, columns: int, rows: int) -> Escape:
    """A picture where the cursor is, which goes to the line below it."""
    head = f"inline=1;size={len(jpeg)};width={columns};height={rows}"
    return Escape(f"\x1b]1337;File={head}:{base64.b64encode(jpeg).decode()}\x07\n")


def _chunks(text: str) -> Iterator[str]:
    return (text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK))
