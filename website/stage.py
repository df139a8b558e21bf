"""build/pages: every page of the site as Markdown, with links that hold there."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from website import api, benchmarks, command, decisions, drawing, jobs_file, sdk
from website.nav import ELSEWHERE, NAV

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build"
PAGES = BUILD / "pages"
CONFIG = BUILD / "zensical.toml"

# Pages that nobody writes by hand.
MADE: Mapping[str, Callable[[], str]] = {
    "reference/command.md": command.page,
    "reference/sdk.md": sdk.page,
    "reference/api.md": api.page,
    "reference/jobs-file.md": jobs_file.page,
    "reference/benchmarks.md": benchmarks.page,
    "decisions/index.md": decisions.page,
}
_LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\[\]]*)\]\((?P<target>[^()\s]+)\)")


def stage() -> None:
    """Makes build/pages and the builder's settings anew."""
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(ROOT / "docs", PAGES)
    for page in PAGES.rglob("*.md"):
        inside = page.relative_to(PAGES)
        _write(inside.as_posix(), PurePosixPath("docs", inside), page.read_text(encoding="utf-8"))
    for source, target in ELSEWHERE.items():
        if (ROOT / source).exists():
            _write(target, PurePosixPath(source), (ROOT / source).read_text(encoding="utf-8"))
    for target, made in MADE.items():
        _write(target, PurePosixPath("docs", target), made())
    shutil.copy(Path(__file__).parent / "site.css", PAGES)
    CONFIG.write_text(_settings(), encoding="utf-8")


def _write(target: str, source: PurePosixPath, text: str) -> None:
    """One page, from the text of a document that lies at `source` in the repository."""
    path = PAGES / target
    path.parent.mkdir(parents=True, exist_ok=True)

    def led(match: re.Match[str]) -> str:
        return _led(match, source, target)

    path.write_text(_LINK.sub(led, text), encoding="utf-8")


def _led(match: re.Match[str], source: PurePosixPath, target: str) -> str:
    """A link as it has to be in the site; one to what is no part of it is plain text."""
    where, hash_sign, anchor = match["target"].partition("#")
    if not where or ":" in where:
        return match[0]
    path = os.path.normpath(source.parent / where)
    if match["image"] and path.endswith(".svg") and (svg := drawing.inline(ROOT / path)):
        return svg
    to = in_site(path)
    if to is None:
        return match["text"]
    way = os.path.relpath(to, PurePosixPath(target).parent)
    return f"{match['image']}[{match['text']}]({way}{hash_sign}{anchor})"


def in_site(path: str) -> str | None:
    """Where a file of the repository is in the site; None where it is not."""
    if path in ("README.md", "docs/decisions"):
        return {"README.md": "index.md", "docs/decisions": "decisions/index.md"}[path]
    if path.startswith("docs/") and ((ROOT / path).is_file() or path[5:] in MADE):
        return path.removeprefix("docs/")
    return ELSEWHERE.get(path)


def _settings() -> str:
    settings = (Path(__file__).parent / "zensical.toml").read_text(encoding="utf-8")
    parts = [
        f'  {{ "{part}" = [\n'
        + "".join(
            f'    {{ "{title}" = "{page}" }},\n'
            for title, page in pages.items()
            if (PAGES / page).exists()
        )
        + "  ] },\n"
        for part, pages in NAV.items()
    ]
    return settings.replace("[project]\n", "[project]\nnav = [\n" + "".join(parts) + "]\n", 1)
