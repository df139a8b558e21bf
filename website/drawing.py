"""Drawings for the site: SVG within the page, in the colours of the page's own scheme."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

_DARK = "@media (prefers-color-scheme: dark) { .drawing {"
_SLATE = '[data-md-color-scheme="slate"] .drawing {'
_BAR_PX, _ROW_PX, _NAMES_PX, _WIDTH_PX = 18, 30, 210, 640


def inline(path: Path) -> str | None:
    """An SVG file as part of a page, dark where the page is, whatever the system says.

    None where the file has no such colours: it stays a picture.
    """
    before, found, after = path.read_text(encoding="utf-8").partition(_DARK)
    if not found:
        return None
    svg = re.sub(r"\s*\n\s*", " ", before + _SLATE + after.replace("} }", "}", 1))
    return f'<div class="figure">{svg}</div>'


def bars(title: str, values: Mapping[str, float], unit: str, ours: tuple[str, ...] = ()) -> str:
    """A bar for each value from zero on; those of `ours` stand out."""
    most = max(values.values())
    height = len(values) * _ROW_PX + 8
    svg = "".join(
        part
        for number, (name, value) in enumerate(values.items())
        for part in _bar(number, name, value / most, f"{value:,g} {unit}", name in (ours or values))
    )
    label = html.escape(f"{title}, {unit}")
    head = f'<svg class="plot" viewBox="0 0 {_WIDTH_PX} {height}" role="img" aria-label="{label}">'
    return f'<div class="figure">{head}{svg}</svg></div>'


def _bar(number: int, name: str, share: float, told: str, ours: bool) -> Iterator[str]:
    top = number * _ROW_PX + 6
    line = top + _BAR_PX / 2 + 4.5
    length = max(1.0, share * (_WIDTH_PX - _NAMES_PX - 110))
    at = f'x="{_NAMES_PX}" y="{top}" width="{length:.1f}" height="{_BAR_PX}" rx="2"'
    yield f'<text x="{_NAMES_PX - 10}" y="{line}" class="name">{html.escape(name)}</text>'
    yield f'<rect {at} class="{"ours" if ours else "other"}"/>'
    yield f'<text x="{_NAMES_PX + length + 8:.1f}" y="{line}">{html.escape(told)}</text>'
