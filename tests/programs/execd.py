"""Code that comes from `exec` and `eval`, with file names that are no files: execd.py"""

import os

from oracle import snapshot

CALL_NEXT = "rest[0](rest[1:])"
DEFINE_AND_CALL_NEXT = """
def defined(rest):
    return {0}

class Body:
    defined(rest)
""".format(CALL_NEXT)


def executed(file_name, mode="exec", source=CALL_NEXT):
    code = compile(source, file_name, mode)
    return lambda rest: eval(code, {"rest": rest})


def executed_text(rest):
    exec("\n\n" + CALL_NEXT, {"rest": rest})


def evaluated_text(rest):
    return eval(CALL_NEXT, {"rest": rest})


def evaluated_lambda(rest):
    return eval("lambda rest: " + CALL_NEXT)(rest)


def last(rest):
    os.write(1, snapshot()) and os.read(0, 1)


chain = [
    executed_text,
    evaluated_text,
    evaluated_lambda,
    executed("<string>"),
    executed("<weird;name>"),
    executed("<ipython-input-1-0123456789ab>", mode="single"),
    executed("some/where.py", source=DEFINE_AND_CALL_NEXT),
    executed("../up.py", mode="eval"),
    executed("", source=DEFINE_AND_CALL_NEXT),
    executed("new\nline", mode="eval"),
    executed("C:\\temp\\é.py"),
    executed("<名前 🐍>", source=DEFINE_AND_CALL_NEXT),
    last,
]
chain[0](chain[1:])
