"""The machine: what it is, its processors, its packages, the processes that are run on it and how they are ended."""

import contextlib
import os
import platform
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from stacks import trouble

PROCESSORS = sorted(os.sched_getaffinity(0))
FOR_TARGETS, FOR_PROFILERS = PROCESSORS[0], PROCESSORS[-1]
TICKS = os.sysconf("SC_CLK_TCK")
TIME = "/usr/bin/time"
TOO_MUCH = 0.1  # of a processor, for other processes to use meanwhile


class Unusable(Exception):
    """Something cannot be had or does not work, and what is measured with it is left out."""


def tell(text):
    """Says what is being done, to whoever waits."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def is_root():
    return os.geteuid() == 0


def cache():
    """The folder that keeps what takes long to get."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).resolve() / "pysample"


def install(package):
    """Installs a Debian package."""
    if not (is_root() and shutil.which("apt-get")):
        raise Unusable(f"needs the package {package}, which root on Debian could install")
    tell(f"installing {package}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "-qq", "update"], ["apt-get", "-qq", "install", "-y", package]):
        try:
            output(*command, env=environment)
        except Unusable as why:
            raise Unusable(f"needs the package {package}: {why}") from why


def need(program, package):
    """Makes sure that a program is there."""
    if not shutil.which(program):
        install(package)


def output(*command, **options):
    """What a command prints when it succeeds."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    except OSError as error:
        raise Unusable(f"{command[0]}: {error.strerror}") from error
    if done.returncode:
        raise Unusable(f"{Path(command[0]).name}: {trouble(done.stdout + done.stderr)}")
    return done.stdout.strip()


def description():
    """What figures depend on and a reader wants to know."""
    return {
        "kernel": platform.release(),
        "processor": _processor(),
        "processors": len(PROCESSORS),
        "date": time.strftime("%Y-%m-%d"),
    }


def _processor():
    with open("/proc/cpuinfo") as lines:
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


class Company:
    """What other processes do on this machine, from the making of this on."""

    def __init__(self, target=None):
        self._target = target
        self._began, self._busy, self._ours = time.monotonic(), _busy(), self._known()

    def share(self):
        """How much of a processor they used. We, our children that have ended, and the target do not count."""
        passed = time.monotonic() - self._began
        others = _busy() - self._busy - (self._known() - self._ours)
        return max(0, others / passed)

    def _known(self):
        usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(usage.ru_utime + usage.ru_stime for usage in usages) + (
            _used_by(self._target) if self._target else 0
        )


class Patience:
    """So many seconds, all in all, that may be lost to other processes."""

    def __init__(self, seconds):
        self._left = seconds

    def wait(self, lost):
        """After a run that others disturbed, which took so many seconds, waits until they use little. Tells whether to
        try again."""
        self._left -= lost
        while self._left > 0:
            company = Company()
            time.sleep(1)
            if company.share() <= TOO_MUCH:
                return True
            self._left -= 1
        return False


def _busy():
    """Seconds that all processors together were busy."""
    with open("/proc/stat") as lines:
        user, nice, system, _, _, interrupts, soft, stolen = map(int, next(lines).split()[1:9])
    return (user + nice + system + interrupts + soft + stolen) / TICKS


def _used_by(pid):
    """Seconds of processor time that a process has used."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError as error:
        raise Unusable("the target ended") from error
    return (int(fields[11]) + int(fields[12])) / TICKS


def has_own_mounts():
    """Whether this process and what it runs see mounts that nobody else sees; see `with_own_mounts`."""
    return "PYSAMPLE_BENCH_MOUNTS" in os.environ


def with_own_mounts():
    """Starts this program anew in a mount namespace of its own, if it may have one. What is mounted there is gone with
    it, however it ends."""
    if has_own_mounts() or not is_root():
        return
    with contextlib.suppress(Unusable):
        output("unshare", "--mount", "true")
        os.environ["PYSAMPLE_BENCH_MOUNTS"] = "1"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, *sys.argv])


def mount_proc(root):
    """Mounts /proc in a root, for programs that look at other processes from within it."""
    if not has_own_mounts():
        raise Unusable("needs /proc in its root, and so root's rights to a mount namespace")
    output("mount", "-t", "proc", "proc", str(root / "proc"))


@contextlib.contextmanager
def on_processor(number):
    """What is started meanwhile runs on this processor only, or on any of ours if it is `None`."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(PROCESSORS) if number is None else {number})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def running(command, **options):
    """A process in a group of its own, all of which is ended with this."""
    process = subprocess.Popen(command, start_new_session=True, **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdout:
            process.stdout.close()


@dataclass
class Finished:
    """How a program ran to its end."""

    began: int  # nanoseconds of the monotonic clock
    ended: int
    cpu: float  # seconds, of it and its children
    peak: float | None  # MiB
    said: str

    @property
    def seconds(self):
        """How long it ran."""
        return (self.ended - self.began) / 1e9


def run(command, scratch, seconds, good=(0,), on=FOR_PROFILERS):
    """Runs a profiler to its end, which must come before so many seconds have passed and with a good exit status."""
    said, peak = scratch / "said", scratch / "peak"
    # A child of a large process is as large until it executes another program, so memory is for a small one to measure.
    measured = [TIME, "-o", peak, "-f", "%M"] if os.path.exists(TIME) else []
    with open(said, "wb") as out, on_processor(on):
        began = time.monotonic_ns()
        with running([*measured, *command], stdin=subprocess.DEVNULL, stdout=out, stderr=out) as process:
            status, usage = _wait(process, seconds)
            ended = time.monotonic_ns()
    text = said.read_text(errors="replace")
    if status not in good:
        raise Unusable(trouble(text))
    return Finished(began, ended, usage.ru_utime + usage.ru_stime, _mebibytes(peak) if measured else None, text)


def _wait(process, seconds):
    """Exit status and resources of a process, its children's included."""
    handle = os.pidfd_open(process.pid)
    try:
        if not select.select([handle], [], [], seconds)[0]:
            raise Unusable(f"it had not ended after {seconds:.0f} s")
    finally:
        os.close(handle)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage


def _mebibytes(path):
    return int(path.read_text().split()[-1]) / 1024
