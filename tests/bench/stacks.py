"""What profilers write, as stacks, and what can be said of a stack of the torture workload. Nothing here runs."""

import re
from collections import Counter

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
MIXED = re.compile(r"^\s+mixed\s+about ([\d.]+)", re.MULTILINE)
TROUBLE = re.compile(r"cannot|can't|could not|fail|error|denied|not permitted|unsupported", re.IGNORECASE)
OUTERMOST = ("<module>", "main", "count")


def of_named_frames(lines):
    """Counts stacks from lines such as `outer (file.py:1);inner (file.py:2) 12`."""
    return _counted(lines, lambda frames: [frame.partition(" (")[0] for frame in frames])


def of_files_first(lines, heads):
    """Counts stacks from lines such as `thread;file.py:outer:1;file.py:inner:2 12`, which begin with `heads` fields
    that are no frames."""
    return _counted(lines, lambda frames: [frame.rsplit(":", 2)[-2] for frame in frames[heads:]])


def of_samples(lines, heads):
    """As `of_files_first`, where each line is one sample and its number is something else."""
    samples = (line.rpartition(" ")[0] + " 1" for line in lines if ";" in line)
    return of_files_first(samples, heads)


def of_nothing(samples):
    """So many samples of which nothing is known."""
    return Counter({(): samples})


def _counted(lines, functions):
    stacks = Counter()
    for line in lines:
        stack, _, count = line.rstrip("\n").rpartition(" ")
        if stack and count.isdigit():
            stacks[tuple(functions(stack.split(";")))] += int(count)
    return stacks


def is_possible(functions):
    """Whether the torture workload can ever have had this stack: all frames are there, and each called the next. Ten times a
    second it calls what sums up for how long it was held up.
    """
    if functions[: len(OUTERMOST)] != OUTERMOST:
        return False
    called = functions[len(OUTERMOST) :]
    if called[:1] == ("held_up",):
        return [name.rpartition(".")[2] for name in called[1:]] in ([], ["<genexpr>"])
    caller = None
    for name in called:
        if not _calls(caller, name):
            return False
        caller = name
    return True


def _calls(caller, name):
    if caller is None:
        return name == "t"
    stem = "t_" if caller == "t" else caller
    return name[:-1] == stem and name[-1] in "012"


def impossible(stacks):
    """How many of the stacks never were."""
    return sum(count for stack, count in stacks.items() if not is_possible(stack))


def depths(stacks):
    """How many of the stacks are so deep."""
    histogram = Counter()
    for stack, count in stacks.items():
        histogram[len(stack)] += count
    return histogram


def share(stacks, function):
    """The share of the stacks that a function is in."""
    return sum(count for stack, count in stacks.items() if function in stack) / stacks.total()


def distance(one, other):
    """How far two histograms are apart: 0 for the same shares, 1 for nothing in common."""
    all_of_one, all_of_other = sum(one.values()) or 1, sum(other.values()) or 1
    return sum(abs(one[depth] / all_of_one - other[depth] / all_of_other) for depth in one.keys() | other.keys()) / 2


def told_mixed(account):
    """How many of the stacks that pysample kept it takes for mixtures of moments; None if its account does not say."""
    found = MIXED.search(account)
    return float(found[1]) if found else None


def calls(summary, name):
    """How often a system call was made, by the table that `strace -c` writes."""
    found = re.search(rf"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?{name}$", summary, re.MULTILINE)
    return int(found[1]) if found else 0


def trouble(said):
    """The sentence of what a program said that tells why it failed."""
    lines = [re.sub(r"^\W+", "", line) for line in ESCAPE.sub("", said).splitlines()]
    lines = [line.partition(". ")[0].strip() for line in lines if line]
    telling = [line for line in lines if TROUBLE.search(line)]
    return (telling or lines[-1:] or ["it said nothing"])[0]
