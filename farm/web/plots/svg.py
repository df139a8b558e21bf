"""Plots as SVG, without a style of their own: the page's sheet colours them."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

_WIDTH, _HEIGHT = 480, 96


def line(values: Sequence[int]) -> Markup:
    """An area under steps, one for each value."""
    top = max(1, *values)
    wide = _WIDTH / len(values)
    points = [f"0,{_HEIGHT}"]
    for index, value in enumerate(values):
        y = _HEIGHT - value / top * (_HEIGHT - 4)
        points += [f"{index * wide:.1f},{y:.1f}", f"{(index + 1) * wide:.1f},{y:.1f}"]
    points.append(f"{_WIDTH},{_HEIGHT}")
    return _svg(f'<polygon class="area" points="{" ".join(points)}"/>', values)


def bars(values: Sequence[int]) -> Markup:
    """A bar for each value."""
    top = max(1, *values)
    wide = _WIDTH / len(values)
    drawn = []
    for index, value in enumerate(values):
        high = value / top * (_HEIGHT - 4)
        drawn.append(
            f'<rect class="bar" x="{index * wide + 1:.1f}" y="{_HEIGHT - high:.1f}" '
            f'width="{wide - 2:.1f}" height="{high:.1f}" rx="1"/>'
            if value
            else ""
        )
    return _svg("".join(drawn), values)


def _svg(drawn: str, values: Sequence[int]) -> Markup:
    return Markup(  # noqa: S704 - numbers alone
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" '
        f'role="img" aria-label="at most {max(values)}, now {values[-1]}">'
        f'<line class="ground" x1="0" x2="{_WIDTH}" y1="{_HEIGHT - 0.5}" y2="{_HEIGHT - 0.5}"/>'
        f"{drawn}</svg>"
    )
