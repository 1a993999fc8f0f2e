"""Interpreters to run the workload with, and the workload as it runs."""

import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from machine import FOR_TARGETS, Unusable, cache, is_root, on_processor, running

WORKLOAD = Path(__file__).with_name("workload.py")
PATIENCE = 60  # seconds in which a target that lives says something


@dataclass(frozen=True)
class Scene:
    """What a target does, and how many stacks that makes."""

    name: str
    arguments: tuple
    stacks: int = 1


TORTURE = Scene("torture", ("torture", "6"))
DEEP = Scene("depth 100", ("deep", "100"))
DEEPER = Scene("depth 1000", ("deep", "1000"))
THREADS = Scene("50 idle threads", ("threads", "50"), stacks=51)
CALLS = Scene("calls", ("calls", "10"))


@dataclass(frozen=True)
class Place:
    """A folder as seen from here and as an interpreter sees it from within its root."""

    outside: Path
    inside: Path

    def __truediv__(self, name):
        return Place(self.outside / name, self.inside / name)


@dataclass(frozen=True)
class Kind:
    """An interpreter of the manifest."""

    name: str
    version: str
    root: Path | None
    command: tuple
    place: Place

    @property
    def short(self):
        """3.15 of 3.15.2."""
        return ".".join(self.version.split(".")[:2])


def manifest():
    """Every interpreter there is, by name."""
    folder = os.environ.get("PYSAMPLE_INTERPRETERS") or cache() / "interpreters"
    try:
        with open(Path(folder) / "manifest.json") as file:
            return {entry["kind"]: entry for entry in json.load(file)}
    except FileNotFoundError as error:
        raise Unusable(f"no interpreters ({error.filename}); tests/interpreters/collect gets them") from error


def roots():
    """The root directories of all interpreters."""
    return sorted({Path(entry["root"]) for entry in manifest().values() if entry["root"]})


@contextlib.contextmanager
def opened(entry):
    """An interpreter with a folder that it and we see, which is gone afterwards."""
    if entry is None:
        raise Unusable("tests/interpreters/collect has none of that kind")
    if entry["root"] and not is_root():
        raise Unusable("only root can run it, as it has a root directory of its own")
    root = Path(entry["root"]) if entry["root"] else None
    with tempfile.TemporaryDirectory(prefix="pysample-bench-", dir=root and root / "tmp") as folder:
        outside = Path(folder)
        inside = Path("/") / outside.relative_to(root) if root else outside
        shutil.copy(WORKLOAD, outside)
        yield Kind(entry["kind"], entry["version"], root, _command(entry), Place(outside, inside))


def _command(entry):
    """What runs a script. Variables are for the interpreter, and not for what changes the root for it."""
    command, variables = entry["command"], [f"{name}={value}" for name, value in entry["env"].items()]
    before, after = (command[:2], command[2:]) if entry["root"] else ([], command)
    return (*before, "env", *variables, *after)


class Target:
    """The workload, running."""

    def __init__(self, process):
        self._process = process
        self._unread = b""

    @property
    def pid(self):
        return self._process.pid

    def line(self):
        """The next line that it prints."""
        while b"\n" not in self._unread:
            if not select.select([self._process.stdout], [], [], PATIENCE)[0]:
                raise Unusable(f"the target stood still for {PATIENCE} s")
            more = os.read(self._process.stdout.fileno(), 1 << 16)
            if not more:
                raise Unusable("the target ended")
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode()

    def tenths(self, until):
        """What it did until a moment: of each tenth of a second when it ended, how long it was, and for how much of it it
        was held up, in nanoseconds. The last is the first to end after that moment."""
        done = []
        while not done or done[-1][0] < until:
            done.append(tuple(map(int, self.line().split())))
        return done

    def watch(self, seconds):
        """What it does in the next so many seconds."""
        return self.tenths(time.monotonic_ns() + int(seconds * 1e9))


@contextlib.contextmanager
def started(kind, scene):
    """The workload by an interpreter, working."""
    command = [*kind.command, kind.place.inside / WORKLOAD.name, *scene.arguments]
    with contextlib.ExitStack() as stack:
        with on_processor(FOR_TARGETS):
            pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "bufsize": 0}
            target = Target(stack.enter_context(running(command, **pipes)))
        if target.line() != "ready":
            raise Unusable(f"{kind.name} does not run the workload")
        yield target
