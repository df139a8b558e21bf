"""A Dockerfile, read as far as the project's own go: stages of instructions, one a line."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from deploy.check.tools import ROOT

FOLDER = ROOT / "deploy" / "docker"


@dataclass(frozen=True)
class Instruction:
    """Such as RUN, and what follows it."""

    word: str
    rest: str


@dataclass
class Stage:
    """From one FROM to the next."""

    image: str
    name: str | None
    instructions: list[Instruction] = field(default_factory=list)

    def rests(self, word: str) -> list[str]:
        """What follows each instruction of this word."""
        return [each.rest for each in self.instructions if each.word == word]


def read(name: str) -> list[Stage]:
    """The stages of deploy/docker/NAME.Dockerfile."""
    text = (FOLDER / f"{name}.Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    stages: list[Stage] = []
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        word, _, rest = line.partition(" ")
        if word == "FROM":
            image, _, stage = rest.partition(" AS ")
            stages.append(Stage(image, stage or None))
        else:
            stages[-1].instructions.append(Instruction(word, rest))
    return stages


def copied(stage: Stage) -> list[tuple[list[str], str]]:
    """What each COPY takes out of the project, and where it puts it."""
    found = []
    for rest in stage.rests("COPY"):
        words = shlex.split(rest)
        if not any(word.startswith("--from=") for word in words):
            found.append((words[:-1], words[-1]))
    return found


def is_sent(source: str) -> bool:
    """Whether .dockerignore lets a path into a build: of lines that fit, the last one counts."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if line and not line.startswith("#") and fnmatch(source, pattern):
            sent = line.startswith("!")
    return sent


def install(stage: Stage, folder: Path) -> list[str]:
    """The stage's steps as lines for bash, with its paths /opt and /src in `folder`.

    They keep pip's cache, so that the check asks the network once, and take the build of torch that
    pip finds here.
    """
    find = [sys.executable, str(ROOT / "requirements" / "torch_build.py")]
    build = subprocess.run(find, check=True, capture_output=True, text=True).stdout.strip()
    lines = []
    for each in stage.instructions:
        match each.word:
            case "COPY":
                *sources, target = shlex.split(each.rest)
                for source in sources:
                    inside = f"{target}{Path(source).name}" if target.endswith("/") else target
                    here = ROOT / source.replace("torch-cuda", f"torch-{build}")
                    lines.append(f"mkdir -p $(dirname {inside}) && cp -r {here} {inside}")
            case "RUN":
                lines.append(each.rest.replace("--no-cache-dir ", ""))
            case "WORKDIR":
                lines.append(f"mkdir -p {each.rest} && cd {each.rest}")
    moved = re.compile(r"(?<![\w.])/(opt|src)(?=[/ ]|$)")
    return [moved.sub(rf"{folder}/\1", line) for line in lines]
