"""What the runs say: the table, with the goals. Nothing here runs anything."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import experiments as who
from stacks import distance

ENOUGH = 10  # impossible stacks, of which it can be said how well they were counted
BEGIN, END = "<!-- tests/bench/run --update-readme -->", "<!-- end -->"


@dataclass(frozen=True)
class Figure:
    """One cell: the number that counts, as text, and what else there is to tell about it. Without a number it is not judged."""

    value: float | None
    text: str
    more: str = ""


@dataclass(frozen=True)
class Unit:
    """How numbers of a sort are written."""

    name: str = ""
    scale: float = 1
    decimals: int | None = None  # otherwise as many as tell something

    def digits(self, number):
        number *= self.scale
        decimals = self.decimals
        if decimals is None:
            decimals = 2 if abs(number) < 9.995 else 1 if abs(number) < 99.95 else 0
        return f"{round(number, decimals) + 0:,.{decimals}f}"

    def text(self, number):
        return f"{self.digits(number)} {self.name}".rstrip()

    def plainly(self, number):
        """For numbers that are exact."""
        return f"{number * self.scale:,.10g} {self.name}".rstrip()


PERCENT = Unit("%", 100)
DISTANCE = Unit(decimals=3)
TIMES = Unit("times")
A_SECOND = Unit("a second", decimals=0)
MEBIBYTES = Unit("MiB")
NUMBER = Unit()


@dataclass(frozen=True)
class Goal:
    """What a figure must be."""

    least: float
    most: float
    text: str

    def met(self, figure):
        return self.least <= figure.value <= self.most


def at_most(bound, unit):
    return Goal(float("-inf"), bound, f"at most {unit.plainly(bound)}")


def at_least(bound, unit):
    return Goal(bound, float("inf"), f"at least {unit.plainly(bound)}")


@dataclass(frozen=True)
class Row:
    """One measure: what it is of pysample in one of its modes, what it must be, and whose is beside it."""

    words: str
    goal: Goal
    profiler: str
    figure: Callable  # of sheet, profiler, kind; None where there is none
    peers: tuple = ()

    @property
    def experiment(self):
        return self.figure.experiment


# --- figures ----------------------------------------------------------------------------------------------------------


def _of(experiment):
    """Says which experiment a function takes its figure from."""

    def mark(figure):
        figure.experiment = experiment
        return figure

    return mark


def middle(experiment, unit, value, *scenes, choose=median):
    """The median of a number of each run, with the range."""

    @_of(experiment)
    def figure(sheet, profiler, kind):
        names = [f"{experiment}, {scene}" for scene in scenes] or [experiment]
        numbers = [value(run) for name in names for run in sheet.runs(name, profiler, kind)]
        return _spread([number for number in numbers if number is not None], unit, choose)

    return figure


def _spread(numbers, unit, choose=median):
    if not numbers:
        return None
    low, high = unit.digits(min(numbers)), unit.digits(max(numbers))
    more = f"({low} to {high})" if low != high else ""
    chosen = choose(numbers)
    return Figure(chosen, unit.text(chosen), more)


@_of("truth")
def impossible(sheet, profiler, kind):
    """The share in all runs together, so that one in any of them shows."""
    runs = sheet.runs("truth", profiler, kind)
    if not runs:
        return None
    were, kept = sum(run["impossible"] for run in runs), sum(run["kept"] for run in runs)
    return Figure(were / kept, PERCENT.text(were / kept), f"({were:,} of {kept:,})")


@_of("truth")
def counted(sheet, profiler, kind):
    """How many impossible stacks it says it kept, by how many there were, in all runs together as they are rare."""
    runs = [run for run in sheet.runs("truth", profiler, kind) if run["told"] is not None]
    if not runs:
        return None
    told, were = sum(run["told"] for run in runs), sum(run["impossible"] for run in runs)
    if max(told, were) < ENOUGH:
        return Figure(None, f"{NUMBER.digits(told)} for {were:,}")
    ratio = told / were if were else float("inf")
    return Figure(ratio, TIMES.text(ratio), f"({NUMBER.digits(told)} for {were:,})")


@_of("truth")
def bias(sheet, profiler, kind):
    """How far its histogram of depths is from that of a peer that is exact."""
    exact = exact_peer(sheet, kind)
    if exact is None or exact == profiler:
        return None
    truth = Counter()
    for run in sheet.runs("truth", exact, kind):
        truth.update(_histogram(run))
    runs = sheet.runs("truth", profiler, kind)
    return _spread([distance(_histogram(run), truth) for run in runs], DISTANCE)


def exact_peer(sheet, kind):
    """A peer that stops the whole target for each sample, and kept no stack that never was."""
    for name in (who.PY_SPY, who.TACHYON_BLOCKING):
        runs = sheet.runs("truth", name, kind)
        if runs and not any(run["impossible"] for run in runs):
            return name
    return None


def _histogram(run):
    return Counter({int(depth): count for depth, count in run["depths"].items()})


@_of("rate")
def by_tachyon(sheet, profiler, kind):
    """How many times Tachyon's rate its own is."""
    own, other = (sheet.runs("rate", name, kind) for name in (profiler, who.TACHYON))
    if not own or not other:
        return None
    ratio = median(run["rate"] for run in own) / median(run["rate"] for run in other)
    return Figure(ratio, TIMES.text(ratio))


# --- the measures and their goals -------------------------------------------------------------------------------------


EVERYBODY = (who.PY_SPY, who.AUSTIN, who.TACHYON)


def _slow_down(scene, rate, most):
    peers = (who.PY_SPY, who.AUSTIN, who.TACHYON_BLOCKING, who.CALLS)
    words = f"slow-down of the target, {rate} Hz, {scene}"
    figure = middle("slow-down", PERCENT, lambda run: run["lost"], scene)
    return Row(words, at_most(most, PERCENT), who.PYSAMPLE, figure, peers)


def _reads(scene, most):
    figure = middle("reads", NUMBER, lambda run: run["reads"], scene)
    words = f"`process_vm_readv` for a sample, {scene}"
    return Row(words, at_most(most, NUMBER), who.PYSAMPLE, figure, (who.PY_SPY, who.AUSTIN, who.TACHYON))


def _cpu(scene, most):
    figure = middle("cost", PERCENT, lambda run: run["cpu"], scene)
    words = f"own use of a processor, 100 Hz, {scene}"
    return Row(words, at_most(most, PERCENT), who.PYSAMPLE, figure, (*EVERYBODY, who.NAPS, who.CALLS))


KEPT = middle("truth", PERCENT, lambda run: run["kept"] / run["asked"])
BEYOND = middle("calls", PERCENT, lambda run: run["seen"] - run["took"])
RATE = middle("rate", A_SECOND, lambda run: run["rate"])
PEAK = middle("cost", MEBIBYTES, lambda run: run["peak"], "depth 100", "50 idle threads", choose=max)
BLOCKING, OTHERS = (who.PY_SPY, who.TACHYON_BLOCKING), (who.PY_SPY_NONBLOCKING, who.AUSTIN, who.TACHYON)
PUNCTUAL = (who.TACHYON_BLOCKING, who.AUSTIN, who.TACHYON)  # py-spy takes as long as it needs for all

ROWS = [
    Row("impossible stacks, 1000 Hz", at_most(0, PERCENT), who.PYSAMPLE, impossible, BLOCKING),
    Row("impossible stacks, 1000 Hz", at_most(0.02, PERCENT), who.NEVER_PAUSE, impossible, OTHERS),
    Row("how many it says there are", Goal(0.5, 2, "0.5 to 2 times"), who.NEVER_PAUSE, counted),
    Row("samples kept of those asked, 1000 Hz", at_least(0.995, PERCENT), who.PYSAMPLE, KEPT, PUNCTUAL[:1]),
    Row("samples kept of those asked, 1000 Hz", at_least(0.995, PERCENT), who.NEVER_PAUSE, KEPT, PUNCTUAL[1:]),
    Row("bias, 1000 Hz", at_most(0.03, DISTANCE), who.PYSAMPLE, bias, BLOCKING),
    Row("bias, 1000 Hz", at_most(0.06, DISTANCE), who.NEVER_PAUSE, bias, OTHERS),
    Row("a system call beyond its share, 200 Hz", at_most(0.05, PERCENT), who.PYSAMPLE, BEYOND, BLOCKING),
    Row("a system call beyond its share, 200 Hz", at_most(0.05, PERCENT), who.NEVER_PAUSE, BEYOND, OTHERS),
    _slow_down("depth 100", 100, 0.01),
    _slow_down("depth 1000", 100, 0.01),
    _slow_down("50 idle threads", 100, 0.01),
    _slow_down("torture", 1000, 0.03),
    _reads("depth 100", 3),
    _reads("50 idle threads", 4),
    Row("highest kept rate", at_least(100_000, A_SECOND), who.NEVER_PAUSE, RATE, (who.AUSTIN, who.TACHYON)),
    Row("highest kept rate, by Tachyon's", at_least(2, TIMES), who.NEVER_PAUSE, by_tachyon),
    Row("highest kept rate", at_least(25_000, A_SECOND), who.ALL_PAUSE, RATE, (*BLOCKING, who.CALLS)),
    _cpu("50 idle threads", 0.015),
    _cpu("depth 100", 0.005),
    Row("peak memory", at_most(15, MEBIBYTES), who.PYSAMPLE, PEAK, EVERYBODY),
]


# --- the table --------------------------------------------------------------------------------------------------------


def lines(report, sheet):
    """All of it, as Markdown."""
    kinds = report["kinds"]
    yield introduction(report, *sheet.disturbed())
    yield ""
    yield f"| measure | goal | {' | '.join(kinds.values())} | met | peers |"
    yield "|---" * (len(kinds) + 4) + "|"
    for row in ROWS:
        if row.experiment in report["experiments"]:
            yield f"| {' | '.join(cells(row, sheet, kinds, report['peers']))} |"
    if report["left_out"]:
        yield ""
        yield "Left out:"
        yield ""
        yield from (f"- {reason}" for reason in report["left_out"])


def introduction(report, disturbed, all_runs):
    """How it was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    machine = report["machine"]
    told = (
        f"Measured on {machine['date']} with `{report['command']}`: {versions}; Linux {machine['kernel']}, "
        f"{machine['processor']}, {machine['processors']} processors. "
    )
    if report["runs"] > 1:
        told += f"Medians of up to {report['runs']} runs with their range. "
    if disturbed:
        told += f"Other processes used more than a tenth of a processor in {disturbed} of {all_runs} runs. "
    return (
        told + f"Peers on {', '.join(map(short, report['kinds'].values()))} in this order, `-` where there is nothing."
    )


def short(version):
    """3.15 of 3.15.2."""
    return ".".join(version.split(".")[:2])


def cells(row, sheet, kinds, peers):
    """One row of the table."""
    figures = {kind: row.figure(sheet, row.profiler, kind) for kind in kinds}
    mode = row.profiler.removeprefix("pysample").strip()
    yield f"{row.words}, `{mode}`" if mode else row.words
    yield row.goal.text
    for figure in figures.values():
        yield f"{figure.text} {figure.more}".strip() if figure else "-"
    yield verdict(row.goal, figures, kinds)
    yield ", ".join(filter(None, (beside(row, sheet, peer, kinds) for peer in row.peers if peer in peers)))


def verdict(goal, figures, kinds):
    """Whether a goal is met, and where not."""
    found = [figure for figure in figures.values() if figure]
    there = {kind: figure for kind, figure in figures.items() if figure and figure.value is not None}
    missed = [short(kinds[kind]) for kind, figure in there.items() if not goal.met(figure)]
    if not there:
        return "too few to tell" if found else "not told"
    if missed:
        return f"**not on {', '.join(missed)}**"
    return "yes" if len(there) == len(figures) else "yes, where told"


def beside(row, sheet, peer, kinds):
    """What it is for a peer, for each interpreter."""
    figures = [row.figure(sheet, peer, kind) for kind in kinds]
    if not any(figures):
        return ""
    return f"{peer} {' / '.join(figure.text if figure else '-' for figure in figures)}"


def replaced(text, block):
    """A text with what is between its two markers replaced."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"there is no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n\n{block}\n\n{END}{after}"
