"""Everything a class can call, and comprehensions in comprehensions: classes.py

`Chain.next` is called by each kind of callable in turn and calls the next kind.
"""

import dataclasses
import os

from oracle import snapshot


class Chain:
    """The kinds of call that are still to be made."""

    def __init__(self, kinds):
        self.kinds = list(kinds)

    def next(self):
        return self.kinds.pop(0)()


class Meta(type):
    @classmethod
    def __prepare__(meta, name, bases):
        return {"prepared": True}

    def __new__(meta, name, bases, namespace):
        if "at_new" in namespace:
            namespace["at_new"]()
        return super().__new__(meta, name, bases, namespace)

    def __init__(cls, name, bases, namespace):
        if "at_init" in namespace:
            namespace["at_init"]()
        super().__init__(name, bases, namespace)

    def __call__(cls, *args):
        return super().__call__(*args)


class Base(metaclass=Meta):
    def __init__(self, call):
        call()


class Middle(Base):
    def __init__(self, call):
        super().__init__(call)


class Mixin(Base):
    def __init__(self, call):
        super().__init__(call)


class Derived(Middle, Mixin):
    def __init__(self, call):
        super().__init__(
            call,
        )


class Outer:
    class Inner:
        class Innermost:
            def method(self, call):
                return call()

            @staticmethod
            def static(call):
                return call()

            @classmethod
            def of_class(cls, call):
                return call()

            def __call__(self, call):
                return call()

            def __enter__(self):
                return self

            def __exit__(self, *error):
                chain.next()

            def __getitem__(self, call):
                return call()

            def __add__(self, call):
                return call()


class Descriptor:
    def __get__(self, instance, owner):
        return chain.next()

    def __set__(self, instance, value):
        value()


class Described:
    described = Descriptor()


@dataclasses.dataclass
class Data:
    call: object

    def __post_init__(self):
        self.call()


class Registering:
    def __init_subclass__(cls, call=None, **kwargs):
        super().__init_subclass__(**kwargs)
        call()


class Named:
    """Told its name by the class body that holds it. An error there would be wrapped, a stack is as it is."""

    def __set_name__(self, owner, name):
        chain.next()


def by_with():
    with Outer.Inner.Innermost():
        pass


def by_assignment():
    Described().described = chain.next


def by_class_body():
    class Body:
        value = chain.next()


def by_meta_new():
    Meta("AtNew", (), {"at_new": chain.next})


def by_meta_init():
    class AtInit(metaclass=Meta):
        at_init = chain.next


def by_subclass():
    class Registered(Registering, call=chain.next):
        pass


def by_set_name():
    class Holding:
        named = Named()


def by_closure():
    def outer(call):
        def middle():
            def inner():
                return call()

            return inner()

        return middle()

    return outer(chain.next)


def by_comprehensions():
    return [[{key: {id(chain.next()) for _ in range(1)} for key in range(1)} for y in range(1)] for x in range(1)]


def by_comprehension_with_condition():
    return [
        x
        for x in range(1)
        if [
            chain.next()
            for y in range(1)
        ]
    ]


def by_lambda_in_comprehension():
    return [(lambda: [chain.next() for y in [x]])() for x in range(1)]


def by_generator_in_comprehension():
    return [list(chain.next() for y in [x]) for x in range(1)]


def by_default(call=lambda: chain.next()):
    return call()


innermost = Outer.Inner.Innermost()
chain = Chain(
    [
        lambda: innermost.method(chain.next),
        lambda: innermost.static(chain.next),
        lambda: innermost.of_class(chain.next),
        lambda: innermost(chain.next),
        lambda: innermost[chain.next],
        lambda: innermost + chain.next,
        lambda: Derived(chain.next),
        lambda: Described().described,
        lambda: Data(chain.next),
        by_with,
        by_assignment,
        by_class_body,
        by_meta_new,
        by_meta_init,
        by_subclass,
        by_set_name,
        by_closure,
        by_comprehensions,
        by_comprehension_with_condition,
        by_lambda_in_comprehension,
        by_generator_in_comprehension,
        by_default,
        lambda: os.write(1, snapshot()) and os.read(0, 1),
    ]
)
chain.next()
