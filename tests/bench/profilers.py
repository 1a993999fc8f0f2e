"""pysample and its peers: how each is got, run and read."""

import json
import platform
import shutil
import subprocess
import venv
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import stacks
from machine import Unusable, cache, install, mount_proc, need, output, tell
from targets import roots

REPOSITORY = Path(__file__).parents[2]

PY_SPY = "py-spy==0.4.3"
AUSTIN = "austin-dist==4.0.0"
AUSTIN_READER = "austin-python==2.4.0"
TACHYON_VERSION = "3.15"


@dataclass(frozen=True)
class Profiler:
    """A program that records a process, in one of its modes."""

    name: str
    command: Callable  # of kind, pid, samples a second, seconds, Place of the output
    read: Callable  # the stacks in such an output, counted
    only: str | None = None  # the one kind that it can record
    good: tuple = (0,)  # the exit statuses it has when all went well
    counts: bool = False  # whether it ends after the number of samples asked for, however long they take

    def refuses(self, kind):
        """Whether it is known beforehand that it cannot record this interpreter."""
        return self.only is not None and kind.name != self.only


@dataclass
class Crew:
    """The profilers that there are, their versions, and why others are missing."""

    profilers: dict = field(default_factory=dict)
    versions: dict = field(default_factory=dict)
    missing: list = field(default_factory=list)

    def add(self, name, version, *profilers):
        self.versions[name] = version
        self.profilers.update((profiler.name, profiler) for profiler in profilers)


def assemble(executable, kinds, with_peers):
    """Everybody who can take part, with these interpreters."""
    crew = Crew()
    _add_pysample(crew, executable or _build())
    if with_peers:
        peers = (("py-spy", _add_py_spy), ("Austin", _add_austin), ("Tachyon", _add_tachyon), ("floor", _add_floor))
        for name, add in peers:
            try:
                add(crew, kinds)
            except Unusable as why:
                crew.missing.append(f"{name}: {why}")
                tell(f"without {name}: {why}")
    return crew


def _lines(place):
    with open(place.outside, errors="replace") as file:
        yield from file


# --- pysample ---------------------------------------------------------------------------------------------------------


def _build():
    tell("building pysample")
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=REPOSITORY, check=True)
    metadata = output("cargo", "metadata", "--format-version", "1", "--no-deps", cwd=REPOSITORY)
    return Path(json.loads(metadata)["target_directory"]) / "release/pysample"


def _add_pysample(crew, executable):
    def mode(*options):
        def command(kind, pid, rate, seconds, out):
            record = [executable, "record", "--pid", str(pid), "-r", str(rate), "-d", str(seconds), "--idle"]
            return [*record, "-f", "collapsed", "-o", out.outside, *options]

        return Profiler(" ".join(("pysample", *options)), command, lambda out: stacks.of_named_frames(_lines(out)))

    version = output(executable, "--version").split()[-1]
    crew.add("pysample", version, mode(), mode("--never-pause"), mode("--max-pause", "100"))


# --- peers from PyPI --------------------------------------------------------------------------------------------------


def _python_environment():
    """A virtual environment with what PyPI has, kept from run to run."""
    folder, wanted = cache() / "peers", f"{PY_SPY} {AUSTIN_READER}"
    stamp = folder / "complete"
    if not (stamp.exists() and stamp.read_text() == wanted):
        tell("getting py-spy and Austin from PyPI")
        shutil.rmtree(folder, ignore_errors=True)
        if not find_spec("ensurepip"):
            install("python3-venv")
        try:
            venv.create(folder, with_pip=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise Unusable(f"no virtual environment: {error}") from error
        _pip(folder, "install", *wanted.split())
        stamp.write_text(wanted)
    return folder / "bin"


def _pip(folder, *arguments):
    output(folder / "bin/python", "-m", "pip", "-q", "--disable-pip-version-check", *arguments)


def _add_py_spy(crew, kinds):
    executable = _python_environment() / "py-spy"

    def mode(*options):
        def command(kind, pid, rate, seconds, out):
            record = [executable, "record", "--pid", str(pid), "-r", str(rate), "-d", str(seconds), "--idle"]
            return [*record, "-f", "raw", "-o", out.outside, *options]

        name = " ".join(("py-spy", *options))
        return Profiler(name, command, lambda out: stacks.of_named_frames(_lines(out)), counts=True)

    version = output(executable, "--version").split()[-1]
    crew.add("py-spy", version, mode(), mode("--nonblocking"))


def _add_austin(crew, kinds):
    environment = _python_environment()
    austin = _austin(environment.parent)

    def command(kind, pid, rate, seconds, out):
        period = max(1, 1_000_000 // rate)
        return [*austin, "-i", f"{period}us", "-x", str(seconds), "-p", str(pid), "-o", out.outside]

    def read(out):
        """Its own format is for its own program to read."""
        text = out.outside.with_suffix(".austin")
        output(environment / "mojo2austin", out.outside, text)
        with open(text, errors="replace") as lines:
            return stacks.of_samples(lines, heads=2)

    version = output(*austin, "--version").split()[-1]
    crew.add("Austin", version, Profiler("Austin", command, read, good=(0, 254)))  # 254 when the time is up


def _austin(folder):
    """What runs Austin. Its wheel for glibc wants a newer one than Debian 12 has, so it is the one for musl."""
    loader = f"lib/ld-musl-{platform.machine()}.so.1"
    loaders = [root / loader for root in [Path("/"), *roots()] if (root / loader).exists()]
    if not loaders:
        raise Unusable(f"there is no /{loader} to run it, neither here nor in an interpreter's root")
    executable = folder / AUSTIN
    if not executable.exists():
        wheels = folder / "wheels"
        platform_tag = f"musllinux_1_1_{platform.machine()}"
        choice = ["--no-deps", "--only-binary=:all:", "--platform", platform_tag]
        _pip(folder, "download", *choice, "-d", str(wheels), AUSTIN)
        with zipfile.ZipFile(next(wheels.glob("austin_dist-*.whl"))) as wheel:
            [script] = [name for name in wheel.namelist() if name.endswith("/scripts/austin")]
            executable.write_bytes(wheel.read(script))
    return [loaders[0], executable]


# --- the profiler that Python brings with it --------------------------------------------------------------------------


def _add_tachyon(crew, kinds):
    own = [kind for kind in kinds if kind.short == TACHYON_VERSION]
    if not own:
        raise Unusable(f"is part of Python {TACHYON_VERSION}, of which there is no interpreter here")
    kind = own[0]
    if kind.root:
        mount_proc(kind.root)

    def mode(*options):
        def command(kind, pid, rate, seconds, out):
            attach = [*kind.command, "-m", "profiling.sampling", "attach", "-a", "-r", str(rate), "-d", str(seconds)]
            return [*attach, "--collapsed", "-o", out.inside, *options, str(pid)]

        name = " ".join(("Tachyon", *options))
        return Profiler(name, command, lambda out: stacks.of_files_first(_lines(out), heads=1), only=kind.name)

    crew.add("Tachyon", kind.version, mode(), mode("--blocking"))


# --- no profiler at all -----------------------------------------------------------------------------------------------


def _add_floor(crew, kinds):
    """What the machine takes at least, see `floor.c`."""
    need("cc", "gcc")
    executable = cache() / "peers/floor"
    executable.parent.mkdir(parents=True, exist_ok=True)
    output("cc", "-O2", "-o", executable, Path(__file__).with_name("floor.c"))

    def mode(what):
        def command(kind, pid, rate, seconds, out):
            return [executable, what, str(pid), str(rate), str(seconds), out.outside]

        return Profiler(f"{what} alone", command, lambda out: stacks.of_nothing(int(next(_lines(out)))))

    crew.profilers.update((profiler.name, profiler) for profiler in (mode("naps"), mode("calls")))
