"""`farm render`: the engine in this process, without a farm."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Adds the verb."""
