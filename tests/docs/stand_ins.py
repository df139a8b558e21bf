"""What runs in place of a program that cannot run in a test: it checks what it was told, and ends.

`python -m tests.docs.stand_ins PROGRAM ARGUMENTS`; tests/docs/test_pages.py puts each on PATH.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
SERVERS = "DOCS_SERVERS"  # the file that notes the processes that go on beside a page
COMMON = "DOCS_COMMON_FARM"  # set where a page uses the farm of all pages
Arguments = Sequence[str]


class Wrong(Exception):
    """What a document says cannot work."""


def farm(arguments: Arguments) -> None:
    """The command itself, but for programs that do not end, and for weights that are not here."""
    verb = next((word for word in arguments if word[0] != "-" and ":" not in word), "")
    if "svd-xt" in arguments or "/path/to/folder" in arguments:  # gated, and gigabytes
        read(arguments)
    elif list(arguments) == ["up"] and COMMON in os.environ:
        pass  # runs: the farm of all pages was started by these words
    elif verb == "up":  # on a real gateway; Ray and torch take 20 s, which one page spends
        read(arguments)
        serve([sys.executable, "-m", "farm", *_for_gateway(arguments)])
        serve([sys.executable, "-m", "tests.docs.worker", os.environ["FARM_ADDRESS"]])
    elif verb == "worker":
        read(arguments)
        serve([sys.executable, "-m", "tests.docs.worker", *arguments])
    elif verb == "gateway":
        serve([sys.executable, "-m", "farm", *arguments])
    else:
        os.execv(sys.executable, [sys.executable, "-m", "farm", *arguments])


def make(arguments: Arguments) -> None:
    """Sets up, tests and measures for minutes or hours: only whether there is such a target.

    But for the demo, which runs, with the smallest model and without making a new environment.
    """
    if list(arguments) == ["demo"]:
        os.environ["MODEL"] = "tiny"
        os.execv(sys.executable, [sys.executable, "examples/demo.py"])
    ask = ["make", "--dry-run", "--directory", str(ROOT), *arguments]
    without = {name: value for name, value in os.environ.items() if name != "PATH"}
    subprocess.run(ask, check=True, env=without | {"PATH": os.defpath}, stdout=subprocess.DEVNULL)


def pip(arguments: Arguments) -> None:
    """Would change the environment of the tests: its files are there, its extras too."""
    for name in re.findall(r"(?:-r|--requirement) (\S+)", " ".join(arguments)):
        _there(name)
    for extra in re.findall(r"^\.\[(\w+)\]$", "\n".join(arguments), flags=re.MULTILINE):
        if f"\n{extra} = [" not in (ROOT / "pyproject.toml").read_text():
            raise Wrong(f"pyproject.toml has no extra {extra}")


def python(arguments: Arguments) -> None:
    """Benchmarks and chaos run for minutes: there are such flags. All else runs."""
    match list(arguments):
        case ["-m", module, *rest] if module.startswith(("benchmarks", "tests.chaos")):
            folder = "benchmarks" if module.startswith("benchmarks") else "tests/chaos"
            sources = "".join(path.read_text() for path in (ROOT / folder).rglob("*.py"))
            for flag in rest:
                if flag.startswith("--") and f'"{flag}"' not in sources:
                    raise Wrong(f"{module} has no {flag}")
        case _:
            os.execv(sys.executable, [sys.executable, *arguments])


def docker(arguments: Arguments) -> None:
    """No daemon here: the Dockerfile and the folder are there; `make deploy-check` reads it."""
    match list(arguments):
        case ["build", "-f", dockerfile, "-t", _, folder]:
            _there(dockerfile)
            _there(folder)
        case _:
            raise Wrong("only `docker build -f FILE -t TAG FOLDER` is known")


def helm(arguments: Arguments) -> None:
    """No cluster here: chart, files and values are there; `make deploy-check` renders them."""
    verbs = {"install", "upgrade", "rollback", "uninstall", "test"}
    if arguments[0] not in verbs or arguments[1] != "farm":
        raise Wrong(f"only {', '.join(sorted(verbs))} of the release `farm` are known")
    for name in re.findall(r"-f (\S+)| (deploy/\S+)", " ".join(arguments)):
        _there("".join(name))
    values = yaml.safe_load((ROOT / "deploy/helm/svdfarm/values.yaml").read_text())
    for path in re.findall(r"--set ([\w.]+)=", " ".join(arguments)):
        found = values
        for key in path.split("."):
            if key not in found:
                raise Wrong(f"the chart has no value {path}")
            found = found[key]


def kubectl(arguments: Arguments) -> None:
    """No cluster here: what it names is in deploy/manifests, or was made by the same document."""
    words = [word for word in arguments if word not in ("-n", "svdfarm")]
    match words:
        case ["create", "namespace"] | ["create", "secret", "generic", _, *_]:
            pass
        case ["delete", "namespace"] | ["get", "secret", _, *_]:
            pass
        case ["delete" | "port-forward" | "rollout", *rest]:
            names = [word.partition("/")[2] or word for word in rest if "farm-" in word]
            if not names:
                raise Wrong("names nothing of the chart")
            for name in names:
                if not any(f'name: "{name}"\n' in text for text in _manifests()):
                    raise Wrong(f"no profile of the chart has {name}")
        case _:
            raise Wrong("no such use of kubectl is known")


STAND_INS: dict[str, Callable[[Arguments], None]] = {
    each.__name__: each for each in (farm, make, pip, python, docker, helm, kubectl)
}


def read(arguments: Arguments) -> None:
    """Reads a command line as `farm` does, without doing it. Raises Wrong."""
    import typer

    from farm.cli.app import app

    command: Any = typer.main.get_command(app)
    for verb in _verbs(command):
        verb.callback = None
    try:
        command.main(list(arguments), prog_name="farm", standalone_mode=False)
    except typer.TyperException as error:
        raise Wrong(error.format_message()) from error


def _verbs(group: Any) -> Iterator[Any]:
    for command in group.commands.values():
        yield from _verbs(command) if hasattr(command, "commands") else (command,)


def serve(command: Sequence[str]) -> None:
    """Starts a program that goes on, waits until it is ready and notes its process."""
    servers = Path(os.environ[SERVERS])
    number = len(servers.read_text().splitlines()) if servers.exists() else 0
    said = servers.with_name(f"server-{number}.out")
    with said.open("w") as out, said.with_suffix(".err").open("w") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, start_new_session=True)
    with servers.open("a") as note:
        note.write(f"{process.pid} {' '.join(command)}\n")
    deadline = time.monotonic() + 60
    while "ready" not in said.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            raise Wrong(f"does not get ready: {said.with_suffix('.err').read_text()[-2000:]}")
        time.sleep(0.05)


def _for_gateway(arguments: Arguments) -> Iterator[str]:
    """The flags of `farm up` that its gateway gets."""
    words = iter(arguments)
    for word in words:
        if word in ("--workers", "--model", "--device", "--dtype", "--engine"):
            next(words)
        elif word not in ("--model-offload", "--forward-chunking"):
            yield "gateway" if word == "up" else word


def _there(name: str) -> None:
    if not (ROOT / name).exists() and not Path(name).exists():
        raise Wrong(f"there is no {name}")


def _manifests() -> list[str]:
    return [path.read_text() for path in sorted((ROOT / "deploy/manifests").glob("*.yaml"))]


def main() -> int:
    """Returns the exit code of a shell's command."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    program, *arguments = sys.argv[1:]
    try:
        STAND_INS[program](arguments)
    except Wrong as error:
        print(f"{program} {' '.join(arguments)}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
