"""The list of docs/decisions."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "docs" / "decisions"


def page() -> str:
    """Number and title of each, newest first."""
    lines = ["# Decisions", "", "What could not be undone cheaply, and why it is as it is.", ""]
    for record in sorted(FOLDER.glob("[0-9]*.md"), reverse=True):
        title = record.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        lines.append(f"- {record.name[:4]} [{title}]({record.name})")
    return "\n".join(lines) + "\n"
