"""How often each stack is in a profile, read without anything of pysample's.

    python3 totals.py FILE ...

Prints one JSON list for each file, of [[function, ...], samples], outermost function first, sorted. Of statistics for pstats
it is [[function], samples] as innermost function. A sample stands for 10 ms.
"""

import collections
import gzip
import json
import marshal
import sys

PERIOD = 0.01


def named(label):
    """The function of a label such as `f (f.py:7)`."""
    return label.rsplit(" (", 1)[0]


def speedscope(data):
    document = json.loads(data)
    names = [named(frame["name"]) for frame in document["shared"]["frames"]]
    for profile in document["profiles"]:
        assert abs(sum(profile["weights"]) - profile["endValue"]) < 1e-6
        for stack, weight in zip(profile["samples"], profile["weights"], strict=True):
            yield [names[frame] for frame in stack], weight / PERIOD


def varints(message):
    """The numbers of protobuf that a message begins with, each with where the next one would be."""
    at = value = shift = 0
    while at < len(message):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield value, at
            value = shift = 0


def fields(message):
    """The fields of a protobuf message: numbers, and bytes."""
    while message:
        numbers = varints(message)
        (key, _), (value, end) = next(numbers), next(numbers)
        assert key & 7 in (0, 2), "no other kind is in a profile"
        if key & 7 == 2:
            end, value = end + value, message[end : end + value]
        yield key >> 3, value
        message = message[end:]


def packed(message):
    return [value for value, _ in varints(message)]


def pprof(data):
    samples, locations, functions, strings = [], {}, {}, []
    for field, value in fields(gzip.decompress(data)):
        if field == 2:
            samples.append(dict(fields(value)))
        elif field == 4:
            location = dict(fields(value))
            locations[location[1]] = dict(fields(location[4]))[1]
        elif field == 5:
            function = dict(fields(value))
            functions[function[1]] = function[2]
        elif field == 6:
            strings.append(value.decode())
    assert strings[0] == ""
    for sample in samples:
        count, nanoseconds = packed(sample[2])
        assert nanoseconds == round(count * PERIOD * 1e9)
        stack = [strings[functions[locations[location]]] for location in packed(sample[1])]
        yield stack[::-1], count


def firefox(data):
    document = json.loads(data)
    shared = document["shared"]
    strings, stacks = shared["stringArray"], shared["stackTable"]
    for thread in document["threads"]:
        assert thread["samples"]["time"] == sorted(thread["samples"]["time"])
        for stack in thread["samples"]["stack"]:
            names = []
            while stack is not None:
                function = shared["frameTable"]["func"][stacks["frame"][stack]]
                names.append(strings[shared["funcTable"]["name"][function]])
                stack = stacks["prefix"][stack]
            yield names[::-1], 1


def trace(data):
    open_, since = collections.defaultdict(list), {}
    for event in json.loads(data)["traceEvents"]:
        track = event["pid"], event["tid"]
        if event.get("cat") not in (None, "python") or event["ph"] not in "BE":
            if event["ph"] == "B":
                open_[track].append(None)
            continue
        stack, at = open_[track], event["ts"]
        assert at >= since.get(track, 0), "times go back"
        if stack and stack[-1] is not None:
            yield list(stack), (at - since[track]) / (PERIOD * 1e6)
        since[track] = at
        if event["ph"] == "B":
            stack.append(named(event["name"]))
        else:
            stack.pop()
    assert not any(open_.values()), "a slice does not end"


def lines(data):
    frames, stacks = {}, {}
    for line in data.splitlines():
        event = json.loads(line)
        if event["type"] == "frame":
            frames[event["id"]] = event["function"]
        elif event["type"] == "stack":
            stacks[event["id"]] = [frames[frame] for frame in event["frames"]][::-1]
        elif event["type"] == "sample" and event["stack"] is not None:
            yield stacks[event["stack"]], 1


def statistics(data):
    for (_, _, name), (_, _, own, _, _) in marshal.loads(data).items():
        yield [name.split(" [pid ")[0]], own / PERIOD


READERS = {
    ".speedscope.json": speedscope,
    ".pb.gz": pprof,
    ".firefox.json": firefox,
    ".trace.json": trace,
    ".jsonl": lines,
    ".pstats": statistics,
}

for path in sys.argv[1:]:
    (reader,) = (reader for ending, reader in READERS.items() if path.endswith(ending))
    totals = collections.Counter()
    with open(path, "rb") as file:
        for stack, samples in reader(file.read()):
            totals[tuple(stack)] += samples
    counts = {stack: round(samples) for stack, samples in totals.items()}
    assert all(abs(counts[stack] - samples) < 0.001 for stack, samples in totals.items()), "no whole number of samples"
    print(json.dumps(sorted([stack, count] for stack, count in counts.items() if stack and count)))
