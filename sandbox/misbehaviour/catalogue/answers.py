"""The switches about what is answered instead of the truth (contract, section 4). Pure."""

from sandbox.misbehaviour.catalogue.parameters import ENTITY, REQUESTS, choice, text, whole
from sandbox.misbehaviour.switch import Group, Kind, Parameter, Switch

_LIMIT = {
    "per_100ms": 1,
    "per_minute": 120,
    "per_hour": 5_000,
    "per_day": 200_000,
    "writes_per_minute": 60,
    "writes_per_day": 5_000,
}

SWITCHES = (
    Switch(
        "quota",
        Group.ANSWERS,
        "Keeps the published limits for each client, and refuses with 409 what is beyond them.",
        (2, 3, 33),
        tuple(whole(name, limit, may_be_none=True) for name, limit in _LIMIT.items()),
    ),
    Switch(
        "throttle",
        Group.ANSWERS,
        "Asks to slow down as Nexudus does: 409 with nothing in it but Retry-After.",
        (2, 3, 5),
        (
            *REQUESTS,
            choice("status", 409, 429, 503),
            Parameter("retry_after", Kind.TEXT, "1", may_be_none=True),
        ),
    ),
    Switch(
        "outage-500",
        Group.ANSWERS,
        "Answers a server fault with a lone message and no envelope.",
        (4, 5),
        (*REQUESTS, choice("status", 500, 502, 503, 504)),
    ),
    Switch(
        "dead-id-500",
        Group.ANSWERS,
        "Answers 500 where a record is missing, though 404 is documented.",
        (4,),
        (ENTITY, whole("id", None, may_be_none=True)),
    ),
    Switch(
        "html-errors",
        Group.ANSWERS,
        "Answers with a web page instead of JSON.",
        (5,),
        (*REQUESTS, choice("status", 502, 200, 401, 403, 404, 500, 503)),
    ),
    Switch(
        "edge-block",
        Group.ANSWERS,
        "The wall in front of Nexudus turns a client away: 403 with a web page.",
        (32,),
        (*REQUESTS, text("user_agent", None)),
    ),
    Switch(
        "empty-200",
        Group.ANSWERS,
        "Says 200 and nothing else.",
        (5,),
        REQUESTS,
    ),
    Switch(
        "not-successful-200",
        Group.ANSWERS,
        "Says 200, and inside that it was not successful.",
        (6,),
        REQUESTS,
    ),
    Switch(
        "bad-request-says-500",
        Group.ANSWERS,
        "Says 400 outside and 500 inside.",
        (6,),
        REQUESTS,
    ),
    Switch(
        "redirect",
        Group.ANSWERS,
        "Sends the reader elsewhere, as to a sign-in page.",
        (5,),
        (*REQUESTS, choice("status", 302, 301, 303, 307, 308), text("to", "/")),
    ),
    Switch(
        "not-json",
        Group.ANSWERS,
        "Says that it is JSON, and it is not.",
        (5,),
        (*REQUESTS, text("body", '{"Records": [')),
    ),
    Switch(
        "wrong-charset",
        Group.ANSWERS,
        "Writes the true answer in another encoding than it says.",
        (5,),
        (*REQUESTS, choice("charset", "utf-16", "latin-1", "utf-8-sig")),
    ),
    Switch(
        "bad-gzip",
        Group.ANSWERS,
        "Says that the answer is compressed, and it is not.",
        (5,),
        REQUESTS,
    ),
    Switch(
        "too-large",
        Group.ANSWERS,
        "Blows the true answer up with blanks.",
        (5,),
        (*REQUESTS, whole("mebibytes", 6)),
    ),
)
