"""Small libraries in C that a process is started with, to see or change what the system does."""

from __future__ import annotations

import subprocess
from pathlib import Path


def preloaded(source: Path, folder: Path, **environment: str) -> list[str]:
    """How a command begins whose process has the library and these variables."""
    library = folder / f"{source.stem}.so"
    compile_ = ["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-lpthread"]
    try:
        subprocess.run(compile_, check=True)
    except FileNotFoundError:
        raise SystemExit("faults need a C compiler, `cc`: install one (Debian: gcc)") from None
    told = {**environment, "LD_PRELOAD": str(library)}
    return ["env", *(f"{name}={value}" for name, value in told.items())]
