"""The photographs that `nano` was trained on, and where they come from.

All are free: photographs and pictures that Debian's wallpaper and puzzle packages ship. Those of
scikit-image, scikit-learn and matplotlib are left to the evaluation, so that neither the examples
of this project nor any figure about `nano` comes from a picture that training saw.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]  # (height, width, channel=3)


@dataclass(frozen=True)
class Source:
    """One Debian package, and the photographs in it."""

    package: str
    folder: str
    licence: str
    credit: str
    files: tuple[str, ...]


SOURCES = (
    Source(
        package="lomiri-wallpapers-16.04",
        folder="usr/share/backgrounds",
        licence="CC-BY-4.0, CC-BY-SA-4.0 or CC0-1.0, as the package's copyright file says of each",
        credit="the photographers named in the files, 2018",
        files=(
            "Bridge_by_Sander_Klootwijk.jpg",
            "Dragonfly_by_Bolly.jpg",
            "Picture_0B_by_freespace.jpg",
            "Picture_1A_by_freespace.jpg",
            "Wine_by_Jakkub_Mede.jpg",
            "aitzgorri_by_Aitzol_Berasategi.jpg",
            "free_by_Peter_Nerlich.jpg",
            "friends_by_Aitzol_Berasategi.jpg",
            "greentock_by_Peter_Nerlich.jpg",
            "life_by_Aitzol_Berasategi.jpg",
            "picosdeeuropa_by_Aitzol_Berasategi.jpg",
            "seeding_by_Clements_Engelhardt.jpg",
            "sunset_by_Aitzol_Berasategi.jpg",
        ),
    ),
    Source(
        package="lomiri-wallpapers-20.04",
        folder="usr/share/backgrounds",
        licence="CC-BY-SA-3.0",
        credit="Aury88, 2019; Lukas Baubkus, 2021",
        files=("Infinite-Sea_by_Aury88.jpg", "Kleiber_by_Lukas_Baubkus.jpg"),
    ),
    Source(
        package="mate-backgrounds",
        folder="usr/share/backgrounds/mate",
        licence="GPL-2.0-or-later",
        credit="the photographers in the package's AUTHORS file, 2005 to 2020",
        files=(
            "abstract/Elephants.jpg",
            "nature/Aqua.jpg",
            "nature/Blinds.jpg",
            "nature/Dune.jpg",
            "nature/FreshFlower.jpg",
            "nature/Garden.jpg",
            "nature/GreenMeadow.jpg",
            "nature/LadyBird.jpg",
            "nature/RainDrops.jpg",
            "nature/Storm.jpg",
            "nature/TwoWings.jpg",
            "nature/Wood.jpg",
            "nature/YellowFlower.jpg",
        ),
    ),
    Source(
        package="plasma-workspace-wallpapers",
        folder="usr/share/wallpapers",
        licence="GPL-2.0-or-later",
        credit="KDE Visual Design Group, 2014",
        files=(
            "Autumn/contents/images/2560x1600.jpg",
            "BytheWater/contents/images/2560x1600.jpg",
            "ColdRipple/contents/images/2560x1600.jpg",
            "ColorfulCups/contents/images/2560x1600.jpg",
            "DarkestHour/contents/images/2560x1600.jpg",
            "EveningGlow/contents/images/2560x1600.jpg",
            "FallenLeaf/contents/images/2560x1600.jpg",
            "Grey/contents/images/2560x1600.jpg",
            "Kite/contents/images/2560x1600.jpg",
            "OneStandsOut/contents/images/2560x1600.jpg",
            "Path/contents/images/2560x1600.jpg",
            "summer_1am/contents/images/2560x1600.jpg",
        ),
    ),
    Source(
        package="palapeli-data",
        folder="usr/share/palapeli/collection",
        licence="GPL-2.0-or-later",
        credit="the authors named in the package's copyright file, 2008 to 2014",
        files=(
            "castle-maintenon.jpg",
            "cincinnati-bridge.jpg",
            "citrus-fruits.jpg",
            "european-honey-bee.jpg",
            "panther-chameleon-female.jpg",
        ),
    ),
)

# Larger photographs are reduced to this first: at 128 pixels a view, more adds nothing but memory.
LONG_SIDE_PX = 1280
# Each level of a pyramid is this much smaller than the one before, down to the shortest side.
LEVEL_RATIO = 0.75
SHORT_SIDE_PX = 112


def fetch(folder: Path) -> None:
    """Unpack Debian's packages into `folder` (needs apt-get and dpkg-deb); those there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in SOURCES:
        target = folder / source.package
        if target.is_dir():
            continue
        subprocess.run(["apt-get", "download", source.package], cwd=folder, check=True)
        (package,) = folder.glob(f"{source.package}_*.deb")
        unpacked = folder / f".{source.package}"
        subprocess.run(["dpkg-deb", "--extract", package, unpacked], check=True)
        unpacked.rename(target)
        package.unlink()


def paths(folder: Path) -> Iterator[Path]:
    """Every photograph under `folder`, in one order; FileNotFoundError names one that is not."""
    for source in SOURCES:
        for file in source.files:
            path = folder / source.package / source.folder / file
            if not path.is_file():
                raise FileNotFoundError(f"{path} is missing: give the folder that fetch() filled")
            yield path


def read_pyramid(path: Path) -> list[Picture]:
    """A photograph at falling sizes, so that a crop of any scale is cut from one of them."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((LONG_SIDE_PX, LONG_SIDE_PX), Image.Resampling.LANCZOS)
    return pyramid(picture)


def pyramid(picture: Image.Image) -> list[Picture]:
    """`picture` and its reductions by LEVEL_RATIO while both sides stay large enough."""
    levels, scale = [], 1.0
    while min(picture.size) * scale >= SHORT_SIDE_PX:
        size = round(picture.width * scale), round(picture.height * scale)
        levels.append(np.array(picture.resize(size, Image.Resampling.LANCZOS)))
        scale *= LEVEL_RATIO
    return levels
