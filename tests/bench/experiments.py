"""What is measured. An experiment makes runs of each profiler with each interpreter; what a run gave is a dictionary of
numbers, put down on the sheet. What they say is for `table` to tell."""

import time
from collections import defaultdict
from dataclasses import dataclass

import stacks
from machine import FOR_PROFILERS, TOO_MUCH, Company, Patience, Unusable, need, run, tell
from targets import CALLS as SYSTEM_CALLS
from targets import DEEP, DEEPER, THREADS, TORTURE, started

PYSAMPLE, NEVER_PAUSE, ALL_PAUSE = "pysample", "pysample --never-pause", "pysample --max-pause 100"
PY_SPY, PY_SPY_NONBLOCKING = "py-spy", "py-spy --nonblocking"
AUSTIN, TACHYON, TACHYON_BLOCKING = "Austin", "Tachyon", "Tachyon --blocking"
NAPS, CALLS = "naps alone", "calls alone"  # no profilers, but what the machine takes at least

FASTEST = 200_000  # samples a second, more than any of them takes
FAST = 20_000  # the same for those that would take ever longer
SETTLING = 0.5  # seconds after which an interpreter has adapted its code to what it does


class Sheet:
    """What runs gave: dictionaries of numbers by experiment, profiler and interpreter."""

    def __init__(self, cells=()):
        self._cells = defaultdict(list, {tuple(key): runs for key, runs in cells})
        self.failures = {}

    def add(self, experiment, profiler, kind, result):
        self._cells[experiment, profiler, kind].append(result)

    def runs(self, experiment, profiler, kind):
        return self._cells.get((experiment, profiler, kind), [])

    def left_out(self):
        """What failed and why, in words: the experiment is told where it was only one."""
        causes = defaultdict(list)
        for (experiment, profiler, kind), why in self.failures.items():
            causes[f"{profiler} on {kind}", why].append(experiment)
        for (who, why), failed in causes.items():
            yield f"{who}: {why}" if len(failed) > 1 else f"{who}, {failed[0]}: {why}"

    def disturbed(self):
        """How many runs other processes disturbed, and how many there are."""
        runs = [run for runs in self._cells.values() for run in runs]
        return sum(run["company"] > TOO_MUCH for run in runs), len(runs)

    def cells(self):
        """All of it, for JSON."""
        return [[list(key), runs] for key, runs in self._cells.items()]


@dataclass(frozen=True)
class Bench:
    """What every experiment needs."""

    kinds: list
    crew: object
    sheet: Sheet
    seconds: int
    runs: int
    patience: Patience

    def rounds(self, experiment, names, runs=None):
        """Each profiler of these with each interpreter, so often. The runs of one are spread over the whole time, so
        that an unquiet minute does not fall on one alone."""
        runs = runs or self.runs
        for number in range(runs):
            for kind in self.kinds:
                for profiler in self.able(experiment, names, kind):
                    tell(f"{experiment}: {profiler.name} on {kind.short}, {number + 1} of {runs}")
                    yield profiler, kind

    def able(self, experiment, names, kind):
        """The profilers of these that can record this interpreter, as far as is known."""
        found = [self.crew.profilers[name] for name in names if name in self.crew.profilers]
        failures = self.sheet.failures
        return [p for p in found if not p.refuses(kind) and (experiment, p.name, kind.name) not in failures]

    def attempt(self, experiment, measure, profiler, kind, *more):
        """Puts down what a run gives, or that this profiler is of no use here. A run that others disturb is done again,
        while there is patience."""
        try:
            while True:
                began = time.monotonic()
                result = measure(profiler, kind, *more)
                if result["company"] <= TOO_MUCH:
                    break
                tell(f"{profiler.name} on {kind.short}: others used {100 * result['company']:.0f} % of a processor")
                if not self.patience.wait(time.monotonic() - began):
                    break
            self.sheet.add(experiment, profiler.name, kind.name, result)
        except Unusable as why:
            tell(f"{profiler.name} on {kind.short}: {why}")
            self.sheet.failures[experiment, profiler.name, kind.name] = str(why)


@dataclass
class Recorded:
    """A recording that went well."""

    finished: object
    stacks: object  # counted; see the module of that name
    company: float  # how much of a processor others used meanwhile


def record(profiler, kind, target, rate, seconds, wrapper=(), on=FOR_PROFILERS):
    """Records a target, on a processor of its own or, if that is `None`, on any."""
    out = kind.place / "profile"
    out.outside.unlink(missing_ok=True)
    company = Company(target.pid)
    command = [*wrapper, *profiler.command(kind, target.pid, rate, seconds, out)]
    finished = run(command, kind.place.outside, 3 * seconds + 60, profiler.good, on)
    share = company.share()
    found = profiler.read(out)
    if not found:
        raise Unusable("it recorded nothing")
    return Recorded(finished, found, share)


def record_scene(profiler, kind, scene, rate, seconds, wrapper=()):
    """Records a scene."""
    with started(kind, scene) as target:
        return record(profiler, kind, target, rate, seconds, wrapper)


# --- the experiments --------------------------------------------------------------------------------------------------


def truth(bench):
    """Which stacks are recorded of a thread that calls functions all the time, and which are missing."""
    everybody = [PYSAMPLE, NEVER_PAUSE, PY_SPY, PY_SPY_NONBLOCKING, AUSTIN, TACHYON, TACHYON_BLOCKING]
    seconds, rate = 2 * bench.seconds, 1000

    def measure(profiler, kind):
        recorded = record_scene(profiler, kind, TORTURE, rate, seconds)
        return {
            "asked": rate * seconds,
            "kept": recorded.stacks.total(),
            "impossible": stacks.impossible(recorded.stacks),
            "told": stacks.told_mixed(recorded.finished.said),
            "depths": stacks.depths(recorded.stacks),
            "company": recorded.company,
        }

    for profiler, kind in bench.rounds("truth", everybody):
        bench.attempt("truth", measure, profiler, kind)


def calls(bench):
    """Which share of its time a thread is seen in a system call, and which the thread itself says it was."""
    everybody = [PYSAMPLE, NEVER_PAUSE, PY_SPY, PY_SPY_NONBLOCKING, AUSTIN, TACHYON, TACHYON_BLOCKING]

    def measure(profiler, kind):
        with started(kind, SYSTEM_CALLS) as target:
            target.watch(SETTLING)
            recorded = record(profiler, kind, target, 200, 2 * bench.seconds, on=None)
            took = held_up(target.tenths(recorded.finished.ended))
        return {"seen": stacks.share(recorded.stacks, "call"), "took": took, "company": recorded.company}

    for profiler, kind in bench.rounds("calls", everybody):
        bench.attempt("calls", measure, profiler, kind)


def slow_down(bench):
    """For how much of its time the target is held up while it is recorded, beyond what it is before and after. How fast it
    goes otherwise is not compared: machines are faster and slower by more than that from one second to the next."""
    some = [PYSAMPLE, PY_SPY, AUSTIN, TACHYON_BLOCKING, CALLS]
    scenes = [(DEEP, 100), (DEEPER, 100), (THREADS, 100), (TORTURE, 1000)]
    for number in range(bench.runs):
        for kind in bench.kinds:
            for scene, rate in scenes:
                experiment = f"slow-down, {scene.name}"
                tell(f"{experiment}, on {kind.short}, {number + 1} of {bench.runs}")
                _slow_down(bench, experiment, kind, scene, rate, bench.able(experiment, some, kind))


def _slow_down(bench, experiment, kind, scene, rate, profilers):
    """Each profiler in turn, with quiet before and after."""
    quiet = bench.seconds / 2

    def measure(profiler, kind, target):
        target.watch(0)  # what it did unwatched
        company = Company(target.pid)
        before = target.watch(quiet)
        recorded = record(profiler, kind, target, rate, bench.seconds)
        during = target.tenths(recorded.finished.ended)
        after = target.watch(quiet)
        share = company.share()
        seconds = (during[-1][0] - before[-1][0]) / 1e9
        lost = (held_up(during) - held_up(before + after)) * seconds
        return {"lost": lost / recorded.finished.seconds, "company": share}

    with started(kind, scene) as target:
        target.watch(SETTLING)
        for profiler in profilers:
            bench.attempt(experiment, measure, profiler, kind, target)


def held_up(tenths):
    """The share of its time for which the target was held up."""
    return sum(held for _, _, held in tenths) / sum(long for _, long, _ in tenths)


def reads(bench):
    """How often memory is read for a sample: what a longer run does more than a shorter one. One run will do, as this
    is counted and not timed, and a short one: some take a minute for a second of it."""
    need("strace", "strace")
    some = [PYSAMPLE, PY_SPY, AUSTIN, TACHYON]

    def measure(profiler, kind, scene):
        few, samples_of_few, _ = _count_reads(profiler, kind, scene, 1)
        many, samples_of_many, company = _count_reads(profiler, kind, scene, 2)
        if samples_of_many <= samples_of_few:
            raise Unusable("it takes no samples while its system calls are counted")
        return {"reads": (many - few) / (samples_of_many - samples_of_few), "company": company}

    for scene in (DEEP, THREADS):
        experiment = f"reads, {scene.name}"
        for profiler, kind in bench.rounds(experiment, some, runs=1):
            bench.attempt(experiment, measure, profiler, kind, scene)


def _count_reads(profiler, kind, scene, seconds):
    """How often memory was read in a recording, how many samples were taken, and what others used."""
    name = "process_vm_readv"
    summary = kind.place.outside / "calls"
    wrapper = ["strace", "-f", "-c", "-e", f"trace={name}", "--seccomp-bpf", "-o", summary]
    recorded = record_scene(profiler, kind, scene, 100, seconds, wrapper)
    return stacks.calls(summary.read_text(), name), recorded.stacks.total() / scene.stacks, recorded.company


def rate(bench):
    """How many stacks a second are kept when more are asked for than can be had."""
    some = [NEVER_PAUSE, ALL_PAUSE, PY_SPY, AUSTIN, TACHYON, TACHYON_BLOCKING, CALLS]

    def measure(profiler, kind):
        rate = FAST if profiler.counts else FASTEST
        recorded = record_scene(profiler, kind, TORTURE, rate, bench.seconds)
        seconds = recorded.finished.seconds if profiler.counts else bench.seconds
        return {"rate": recorded.stacks.total() / seconds, "company": recorded.company}

    for profiler, kind in bench.rounds("rate", some):
        bench.attempt("rate", measure, profiler, kind)


def cost(bench):
    """Processor time and memory of the profiler, its start and its writing included."""
    some = [PYSAMPLE, PY_SPY, AUSTIN, TACHYON, NAPS, CALLS]
    seconds = 2 * bench.seconds

    def measure(profiler, kind, scene):
        recorded = record_scene(profiler, kind, scene, 100, seconds)
        finished = recorded.finished
        return {"cpu": finished.cpu / finished.seconds, "peak": finished.peak, "company": recorded.company}

    for scene in (THREADS, DEEP):
        experiment = f"cost, {scene.name}"
        for profiler, kind in bench.rounds(experiment, some):
            bench.attempt(experiment, measure, profiler, kind, scene)


EXPERIMENTS = {"truth": truth, "calls": calls, "slow-down": slow_down, "reads": reads, "rate": rate, "cost": cost}
