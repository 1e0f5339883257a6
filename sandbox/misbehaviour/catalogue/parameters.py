"""The parameters that many switches share. Pure."""

from sandbox.misbehaviour.switch import Kind, Parameter, Value

PATH = Parameter("path", Kind.TEXT, "/api/")
TIMES = Parameter("times", Kind.WHOLE, None, may_be_none=True)
CHANCE = Parameter("chance", Kind.NUMBER, 1.0)
ENTITY = Parameter("entity", Kind.ENTITY, None, may_be_none=True)

# Which requests meet it: those below a path, so many of them, or that share of them.
REQUESTS = (PATH, TIMES, CHANCE)


def choice(name: str, *choices: Value) -> Parameter:
    """Return a parameter that is one of these; the first is its default."""
    return Parameter(name, Kind.CHOICE, choices[0], choices=choices)


def seconds(default: float, name: str = "seconds") -> Parameter:
    """Return a duration in seconds."""
    return Parameter(name, Kind.NUMBER, default)


def whole(name: str, default: int | None, *, may_be_none: bool = False) -> Parameter:
    """Return a whole number."""
    return Parameter(name, Kind.WHOLE, default, may_be_none=may_be_none)


def text(name: str, default: str | None) -> Parameter:
    """Return a text; without a default it may be left empty."""
    return Parameter(name, Kind.TEXT, default, may_be_none=default is None)
