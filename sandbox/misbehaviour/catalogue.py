"""All ways to misbehave by name, and the pitfalls that are always there. Pure.

The numbers are those of the contract's section 9.
"""

from sandbox.misbehaviour.switch import Group, Kind, Parameter, Refused, Switch, Value
from sandbox.records import FIRST_LOCATION_ID


def _choice(name: str, *choices: Value) -> Parameter:
    return Parameter(name, Kind.CHOICE, choices[0], choices=choices)


def _seconds(default: float, name: str = "seconds") -> Parameter:
    return Parameter(name, Kind.NUMBER, default)


def _whole(name: str, default: int | None, *, may_be_none: bool = False) -> Parameter:
    return Parameter(name, Kind.WHOLE, default, may_be_none=may_be_none)


def _text(name: str, default: str | None, *, may_be_none: bool = False) -> Parameter:
    return Parameter(name, Kind.TEXT, default, may_be_none=default is None or may_be_none)


_TIMES = _whole("times", None, may_be_none=True)
_ENTITY = Parameter("entity", Kind.ENTITY, None, may_be_none=True)
# The requests that meet a switch: those below a path, so many of them, or a share of them.
_REQUESTS = (_text("path", "/api/"), _TIMES, Parameter("chance", Kind.NUMBER, 1.0))
_DRIP = (*_REQUESTS, _seconds(1.0), _whole("bytes", 1))
_LIMITS = {
    "per_100ms": 1,
    "per_minute": 120,
    "per_hour": 5_000,
    "per_day": 200_000,
    "writes_per_minute": 60,
    "writes_per_day": 5_000,
}
_PARTIAL = (_ENTITY, _text("fields", "CourseId,CourseMemberId,CompletionType,BusinessId"))
_FAILURE = _choice("status", 500, 502, 503, 504)
_AGENT = _text("user_agent", None)
_JITTER = _seconds(0.0, "jitter")
_LAG = (_ENTITY, _seconds(5.0))
_COPIES = _whole("times_each", 2)
_ZONE = Parameter("zone", Kind.ZONE, "Asia/Dubai")
_LOCATION = _whole("business_id", FIRST_LOCATION_ID)
_EXAMPLE_KEY = "JBSWY3DPEHPK3PXP"

# For each group: name, sentence, pitfalls, parameters.
_Row = tuple[str, str, tuple[int, ...], tuple[Parameter, ...]]
_ANSWERS: tuple[_Row, ...] = (
    (
        "quota",
        "Enforces the published limits for each client and answers 409 beyond them.",
        (2, 3, 33),
        tuple(_whole(name, limit, may_be_none=True) for name, limit in _LIMITS.items()),
    ),
    (
        "throttle",
        "Throttles as Nexudus does: 409 with only a Retry-After header.",
        (2, 3, 5),
        (
            *_REQUESTS,
            _choice("status", 409, 429, 503),
            _text("retry_after", "1", may_be_none=True),
        ),
    ),
    ("outage-500", "Answers with a server error and no envelope.", (4, 5), (*_REQUESTS, _FAILURE)),
    (
        "dead-id-500",
        "Answers 500 for a missing record, although 404 is documented.",
        (4,),
        (_ENTITY, _whole("id", None, may_be_none=True)),
    ),
    (
        "html-errors",
        "Answers with an HTML page instead of JSON.",
        (5,),
        (*_REQUESTS, _choice("status", 502, 200, 401, 403, 404, 500, 503)),
    ),
    ("edge-block", "The firewall answers 403 with an HTML page.", (32,), (*_REQUESTS, _AGENT)),
    ("empty-200", "Answers 200 with an empty body.", (5,), _REQUESTS),
    ("not-successful-200", "Answers 200 with WasSuccessful false in the body.", (6,), _REQUESTS),
    ("bad-request-says-500", "Answers 400 with Status 500 in the body.", (6,), _REQUESTS),
    (
        "redirect",
        "Redirects the client, for example to a sign-in page.",
        (5,),
        (*_REQUESTS, _choice("status", 302, 301, 303, 307, 308), _text("to", "/")),
    ),
    (
        "not-json",
        "Answers with the content type of JSON and a body that is not JSON.",
        (5,),
        (*_REQUESTS, _text("body", '{"Records": [')),
    ),
    (
        "wrong-charset",
        "Encodes the answer in another charset than its header names.",
        (5,),
        (*_REQUESTS, _choice("charset", "utf-16", "latin-1", "utf-8-sig")),
    ),
    ("bad-gzip", "Declares gzip and sends the answer uncompressed.", (5,), _REQUESTS),
    ("too-large", "Pads the answer with blanks.", (5,), (*_REQUESTS, _whole("mebibytes", 6))),
)
_CONNECTION: tuple[_Row, ...] = (
    ("latency", "Delays each finished answer.", (), (*_REQUESTS, _seconds(1.0), _JITTER)),
    ("connection-reset", "Resets the connection instead of answering.", (), _REQUESTS),
    ("truncated-body", "Closes the connection in the middle of the answer.", (5,), _REQUESTS),
    ("slow-headers", "Sends the headers of the answer a few bytes at a time.", (), _DRIP),
    ("slow-body", "Sends the body of the answer a few bytes at a time.", (), _DRIP),
)
_SIGN_IN: tuple[_Row, ...] = (
    ("short-life", "Access tokens expire after this time.", (9,), (_whole("expires_in", 60),)),
    ("no-expires-in", "The answer to a sign-in does not say when its token expires.", (9,), ()),
    ("refuse-refresh", "Refresh tokens are refused; only the password works.", (8,), (_TIMES,)),
    ("refuse-sign-in", "The password is refused, as after a change.", (7,), (_TIMES,)),
    ("invalid-grant-as-401", "A refused sign-in answers 401 instead of 400.", (33,), ()),
    ("kick-out", "Each sign-in by password ends the tokens of all clients.", (8,), ()),
    ("client-id-header-only", "The client_id counts in the header only.", (8, 33), ()),
    ("client-id-field-only", "The client_id counts in the form only.", (8, 33), ()),
    (
        "totp-required",
        "The password needs a second factor: this code, or the current one of a key (RFC 6238).",
        (),
        (_text("code", None), Parameter("key", Kind.KEY, _EXAMPLE_KEY, may_be_none=True)),
    ),
    (
        "missing-right",
        "A valid token lacks the permission to read or write: 401, as if not signed in.",
        (7,),
        (
            _ENTITY,
            _choice("way", "both", "read", "list", "create", "edit"),
            _choice("status", 401, 403),
        ),
    ),
)
_LISTS: tuple[_Row, ...] = (
    ("ignore-filters", "Filters are ignored and all rows are returned.", (10,), (_ENTITY,)),
    (
        "words-for-direction",
        "Only Ascending and Descending set the order, not 1 and -1.",
        (11,),
        (),
    ),
    ("ignore-order", "Rows are sorted by Id, whatever order is requested.", (11,), ()),
    ("cut-size", "A page has at most this many rows.", (33,), (_whole("rows", 100),)),
    (
        "never-ending-list",
        "Every page says that another one follows; beyond the end the last page is repeated.",
        (),
        (_ENTITY, Parameter("repeat", Kind.FLAG, default=True)),
    ),
    (
        "shifting-pages",
        "Each page starts with the last row of the page before, or skips one.",
        (),
        (_ENTITY, _choice("way", "repeat", "skip")),
    ),
    ("partial-rows", "Rows of lists leave out more fields.", (12,), _PARTIAL),
    ("partial-many", "Records requested by several Ids leave out more fields.", (12,), _PARTIAL),
    (
        "many-by-id-off",
        "Requests for several Ids are not understood: the first page of the list, or 404.",
        (10, 33),
        (_choice("way", "ignored", "404"),),
    ),
    ("lagging-lists", "Lists contain a new record only after a while.", (21,), _LAG),
)
_RECORDS: tuple[_Row, ...] = (
    (
        "late-links",
        "A new record answers 404 for some reads or seconds; so does any of a named kind.",
        (21,),
        (
            _ENTITY,
            _whole("reads", 2, may_be_none=True),
            Parameter("seconds", Kind.NUMBER, None, may_be_none=True),
        ),
    ),
    ("kind-as-number", "The kind of a coworker is 1 or 2 on an enrolment too.", (13,), ()),
    ("fractions", "Times have seven digits also when they are read.", (14,), ()),
    ("no-zone", "Times have no zone.", (14,), ()),
    ("html-in-titles", "Titles and names contain markup and a script.", (34,), ()),
    ("no-guessed-name", "Coworkers have no guessed first name, not even the field.", (23,), ()),
    (
        "salutation",
        "Every salutation is a title, or the first name.",
        (23,),
        (_choice("holds", "title", "first-name"),),
    ),
    (
        "incomplete-person",
        "Every coworker lacks an account or an address, is inactive, or is archived.",
        (24,),
        (_choice("lacks", "account", "email", "active", "not-archived"),),
    ),
    ("other-fields", "Records have undocumented fields and lack optional ones.", (33,), ()),
    ("large-ids", "New Ids do not fit into 32 bits.", (31,), (_whole("first", 2**32 + 1),)),
    (
        "sys-coworkers",
        "Coworkers are also at /api/sys/coworkers, as one document says, or only there.",
        (33,),
        (Parameter("only", Kind.FLAG, default=False),),
    ),
    ("course-actions", "The list of webhook actions has two more, for courses.", (1,), ()),
)
_DELIVERIES: tuple[_Row, ...] = (
    ("no-deliveries", "Nothing is delivered, as Nexudus does today with courses.", (1,), ()),
    ("duplicate-deliveries", "Changes are delivered more than once.", (20,), (_COPIES,)),
    ("late-deliveries", "Changes are delivered late.", (20, 21), (_seconds(5.0), _JITTER)),
    (
        "out-of-order-deliveries",
        "Changes are collected for a moment and delivered in reverse order.",
        (20,),
        (_whole("together", 3), _seconds(1.0)),
    ),
    ("bare-object-deliveries", "A delivery is the bare record, not an array of one.", (16,), ()),
    ("local-times-in-deliveries", "Times in deliveries are local but marked UTC.", (15,), (_ZONE,)),
    (
        "signature-form",
        "Signatures are computed in another way than the documented one.",
        (17,),
        (_choice("form", "raw", "utf16-units", "code-points", "lower-case", "none", "wrong"),),
    ),
    (
        "hooks-for-one-location",
        "Only one location's changes are delivered.",
        (19, 35),
        (_LOCATION,),
    ),
)
_TABLES = {
    Group.ANSWERS: _ANSWERS,
    Group.CONNECTION: _CONNECTION,
    Group.SIGN_IN: _SIGN_IN,
    Group.LISTS: _LISTS,
    Group.RECORDS: _RECORDS,
    Group.DELIVERIES: _DELIVERIES,
}
SWITCHES = {
    name: Switch(name, group, sentence, pitfalls, parameters)
    for group, table in _TABLES.items()
    for name, sentence, pitfalls, parameters in table
}

# Always there, whatever is switched on.
DEFAULT_BEHAVIOUR: dict[int, str] = {
    1: "No webhook action is about courses; the stand-in delivers their changes all the same.",
    5: 'A missing Id answers 404 with the JSON text "Not found", not with an object.',
    8: "A refresh with another client_id is refused; a new sign-in ends the client's tokens.",
    10: "An unknown filter is ignored silently, and all rows are returned.",
    11: "A relation is filtered by its name without Id; with Id the filter is unknown.",
    12: "Rows of lists leave out long texts, and collections are empty.",
    13: 'The kind of a coworker is "Individual" on an enrolment and 1 on the coworker.',
    14: "A time has seven digits in a delivery and none when it is read.",
    16: "A delivery is an array of one record and does not say what happened, or when.",
    17: "A signature covers the text with a question mark for each UTF-16 unit above ASCII.",
    18: "Ten failures in a row switch a webhook off without notice.",
    19: "A webhook belongs to one location and one action.",
    20: "A failed delivery is repeated and not marked as a repetition.",
    22: "The list of webhook actions has the typing mistakes of the real one.",
    23: "Names: one without a guessed first name, one right to left, one with an emoji.",
    24: "One coworker has no address, one no account, one is inactive, one is archived.",
    25: "One address has a plus sign; unescaped in a filter it is a blank and matches nobody.",
    26: "A coworker's record contains door codes and bank details, marked for tests to find.",
    27: "A coworker's record has no language; only the account has one.",
    28: "A time zone is a number that leads to a Windows name.",
    29: "Courses have lessons that are not tracked, not active, or in an inactive section.",
    30: "A deleted record leaves no trace; a new enrolment has a new Id.",
    31: "New Ids are just below the signed 32-bit limit.",
    34: "One course and its lessons have titles with markup.",
    35: "There are two locations, in two time zones and languages, with their own courses.",
}


def switch_named(name: str) -> Switch:
    """Return the switch of that name.

    Raises:
        Refused: there is none.
    """
    if name not in SWITCHES:
        raise Refused(f"There is no misbehaviour called {name!r}.", 400)
    return SWITCHES[name]
