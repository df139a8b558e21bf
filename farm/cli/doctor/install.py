"""What is installed: Python, the packages, ffmpeg."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata

from farm.cli.doctor import child
from farm.cli.doctor.check import Check, fail, ok, warn

OLDEST = (3, 11)
NEWEST = (3, 13)
SERVER = ("server", "gateway")  # the extras; the first brings the second
# What is told by name; without any of these, the [server] extra is not installed at all.
_TOLD = ("torch", "ray", "diffusers")
_INSTALL = 'pip install "svdfarm[server]"'
_FFMPEG_TIMEOUT_S = 10.0
_SIDE_PX = 64


@dataclass(frozen=True)
class Package:
    """A requirement of svdfarm, and what is there of it."""

    name: str
    wanted: str  # such as >=2.11
    found: str | None
    fits: bool
    of_server: bool


def judge_python(version: Sequence[int | str]) -> Check:
    """Is this Python one that the farm is tested with?"""
    told = ".".join(map(str, version[:3]))
    if OLDEST <= tuple(map(int, version[:2])) <= NEWEST:
        return ok("python", told)
    allowed = f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"
    return fail("python", f"{told}; allowed: {allowed}", f"Install the farm with Python {allowed}.")


def probe_packages(program: str = "svdfarm") -> list[Package] | None:
    """Every requirement of the installed farm; None where its own metadata is not installed."""
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(text) for text in metadata.requires(program) or []]
    except metadata.PackageNotFoundError:
        return None
    packages = []
    for requirement in wanted:
        marker = requirement.marker
        always = marker is None or marker.evaluate({"extra": ""})
        of_server = marker is not None and any(marker.evaluate({"extra": e}) for e in SERVER)
        if requirement.name == program or not (always or of_server):
            continue
        try:
            found: str | None = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            found = None
        fits = found is not None and requirement.specifier.contains(found, prereleases=True)
        specifier = str(requirement.specifier)
        packages.append(Package(requirement.name, specifier, found, fits, not always))
    return packages


def judge_packages(packages: Sequence[Package] | None) -> Check:
    """Is everything there, in the versions that the farm was made for?"""
    if packages is None:
        found = "svdfarm runs from a folder and is not installed: its packages are not compared"
        return warn("packages", found, "pip install --editable . in its folder.")
    known = {package.name: package for package in packages}
    if all(name not in known or known[name].found is None for name in _TOLD):
        wrong = [_told(p) for p in packages if not p.fits and not p.of_server]
        if not wrong:
            return _client_only()
    else:
        wrong = [_told(p) for p in packages if not p.fits]
    if wrong:
        return fail("packages", "; ".join(wrong), f"{_INSTALL} puts that right.")
    named = ", ".join(f"{name} {known[name].found}" for name in _TOLD if name in known)
    return ok("packages", f"{named}, {len(packages) - len(_TOLD)} others")


def _client_only() -> Check:
    found = "the [server] packages are not installed: this machine can submit and watch, "
    found += "and the checks that need them are left out"
    return warn("packages", found, f"To render here: {_INSTALL}.")


def _told(package: Package) -> str:
    if package.found is None:
        return f"{package.name} is not installed"
    return f"{package.name} is {package.found}; allowed: {package.wanted}"


def probe_ffmpeg() -> child.Ran:
    """One black frame, encoded to nowhere. Raises EncoderMissing, NoAnswer."""
    from farm.render import ffmpeg

    size = f"{_SIDE_PX}x{_SIDE_PX}"
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-i", "pipe:0"]
    encode = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-f", "null", "-"]
    return child.run([ffmpeg.binary(), *raw, *encode], _FFMPEG_TIMEOUT_S, bytes(3 * _SIDE_PX**2))


def judge_ffmpeg(ran: child.Ran) -> Check:
    """Did it encode?"""
    words = ran.err.split(maxsplit=3)
    version = words[2] if words[:2] == ["ffmpeg", "version"] else "of an unknown version"
    if ran.code == 0:
        return ok("ffmpeg", f"{version}, encodes H.264 with libx264")
    advice = "Unset IMAGEIO_FFMPEG_EXE, or let it name an ffmpeg that has libx264."
    if "libx264" in ran.err:
        return fail("ffmpeg", f"{version}, without libx264", advice)
    return fail("ffmpeg", f"{version}, cannot encode: {ran.last_line}", advice)


def check_ffmpeg() -> list[Check]:
    """The check of ffmpeg."""
    from farm.render.errors import EncoderMissing

    try:
        return [judge_ffmpeg(probe_ffmpeg())]
    except (EncoderMissing, child.NoAnswer, OSError) as error:
        again = "pip install --force-reinstall imageio-ffmpeg"
        return [fail("ffmpeg", f"it does not start: {error}", f"{again} brings one along.")]


def check_python() -> list[Check]:
    """The check of Python."""
    return [judge_python(tuple(sys.version_info))]


def check_packages() -> list[Check]:
    """The check of the packages."""
    if importlib.util.find_spec("packaging") is None:  # it comes with [server] and compares
        return [_client_only()]
    return [judge_packages(probe_packages())]
