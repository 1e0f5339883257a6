"""The doctor's requests to Nexudus, and its checks of the roles that our user needs.

A role is an entity's name with -List or -Read (contract, section 7); each is tried. Of the records
read, only Ids are kept, to read records of other kinds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from ledger.clock import Clock
from schemas.checkup import AGAIN, Check, Topic, at_nexudus
from schemas.entity import PATHS, Entity
from schemas.errors import CoursebellError, RecordUnreadable, SourceThrottled
from schemas.records import load_record
from schemas.records.answers import Page, load_page
from workers.source.answers import AccessDenied, Missing
from workers.source.client import Source
from workers.source.limits import Patience, Urgency

PATIENCE_S = 30.0  # the wait for one request: a person is waiting
LIST, READ = "List", "Read"


@dataclass(frozen=True, slots=True)
class Need:
    """How to request a kind of record. `without`: what is lost without it, if not everything is.

    A role that is missing is a problem, unless it `is_optional`.
    """

    entity: Entity
    ways: tuple[str, ...]
    without: str | None = None
    is_optional: bool = False


_NO_OWN_LANGUAGE = "members are written to in the language of their location"
NEEDS: tuple[Need, ...] = (
    Need(Entity.COURSE_MEMBER, (LIST, READ)),
    Need(Entity.COMPLETED_LESSON, (LIST, READ)),
    Need(Entity.LESSON, (LIST, READ)),
    Need(Entity.SECTION, (LIST, READ)),
    Need(Entity.COURSE, (LIST, READ)),
    Need(Entity.COWORKER, (READ,)),
    Need(Entity.TIME_ZONE, (LIST,), "COURSEBELL_ZONE is used for all members", is_optional=True),
    Need(Entity.USER, (READ,), _NO_OWN_LANGUAGE, is_optional=True),
    Need(Entity.LANGUAGE, (READ,), _NO_OWN_LANGUAGE, is_optional=True),
    Need(
        Entity.BUSINESS,
        (READ,),
        "COURSEBELL_LANGUAGE is used for members whose own language is not known",
        is_optional=True,
    ),
    Need(
        Entity.WEB_HOOK,
        (LIST, READ),
        "a webhook that Nexudus switched off goes unnoticed",
        is_optional=True,
    ),
)
# Only where a rule counts what Nexudus itself sends; nobody else needs to give this role.
MESSAGES = Need(
    Entity.MESSAGE, (LIST,), "reminders with `count_nexudus` in the rules wait, and only those"
)

# Fields that have the Id of another record, so that one can be read without a list.
_NAMES_ANOTHER: Mapping[str, Entity] = {
    "CourseMemberId": Entity.COURSE_MEMBER,
    "CourseLessonId": Entity.LESSON,
    "CourseId": Entity.COURSE,
    "SectionId": Entity.SECTION,
    "CoworkerId": Entity.COWORKER,
    "UserId": Entity.USER,
    "PreferredLanguageId": Entity.LANGUAGE,
    "BusinessId": Entity.BUSINESS,
}
_NONE_YET = (
    "Nothing if Nexudus has none yet. Otherwise link our Nexudus user to the locations that have "
    "them."
)
_UNLIKE = (
    "Look for a newer version of Coursebell. If there is none, report the names of these fields."
)
_ACCESS = (
    'In Nexudus, switch "API Access" on for our user, and give it the roles below. The account of a'
    " portal member is not enough. If another sign-in just ended ours, run this again in a minute."
)


class ReplyKind(Enum):
    """The outcome of a request."""

    VALUE = auto()
    MISSING = auto()  # there is no such record or path
    NO_RIGHT = auto()  # after a successful sign-in: a role is missing (contract, sections 1 and 7)
    BUSY = auto()  # Nexudus asked us to wait, or the request limit is used up
    TROUBLE = auto()  # anything else


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply to a request. `sentence` says why there is no value."""

    kind: ReplyKind
    value: object = field(default=None, repr=False)
    sentence: str = ""


def patience(clock: Clock, seconds: float = PATIENCE_S) -> Patience:
    """Return the patience of a person who starts waiting now."""
    return Patience(Urgency.PERSON, clock.monotonic() + seconds, lambda: None)


@dataclass(frozen=True, slots=True)
class Questions:
    """Requests to the source whose failures are replies: none of our errors is raised."""

    source: Source
    clock: Clock

    def ask(self, path: str, query: Mapping[str, str] | None = None) -> Reply:
        """Request a path; retry once if Nexudus asked us to wait a moment."""

        def read(source: Source) -> object:
            return source.session.get_json(path, query or {})

        reply = self.read(read)
        return self.read(read) if reply.kind is ReplyKind.BUSY else reply

    def read(self, read: Callable[[Source], object], seconds: float = PATIENCE_S) -> Reply:
        """Call `read` with the source client; its result is the value of the reply."""
        self.source.session.patience = patience(self.clock, seconds)
        try:
            value = read(self.source)
        except AccessDenied as error:
            return Reply(ReplyKind.NO_RIGHT, sentence=at_nexudus(error))
        except SourceThrottled as error:
            return Reply(ReplyKind.BUSY, sentence=at_nexudus(error))
        except CoursebellError as error:
            return Reply(ReplyKind.TROUBLE, sentence=at_nexudus(error))
        if not isinstance(value, Missing):
            return Reply(ReplyKind.VALUE, value)
        kind = ReplyKind.MISSING if value.certain else ReplyKind.TROUBLE
        return Reply(kind, sentence=f"Nexudus answered {value.status}")


def role(entity: Entity, way: str) -> str:
    """Return Nexudus's name of the role to list or read a kind of record."""
    return f"{entity}-{way}"


class Rights:
    """Tries the role of each need.

    `known` returns the Id of a record of this kind from the ledger, if any. `refused` are the names
    of the roles that turned out to be missing.
    """

    def __init__(
        self,
        questions: Questions,
        known: Callable[[Entity], int | None],
        needs: Sequence[Need] = NEEDS,
    ) -> None:
        self._questions = questions
        self._known = known
        self._needs = needs
        self._ids: dict[Entity, int] = {}
        self._tried: set[ReplyKind] = set()
        self.refused: set[str] = set()

    def checks(self) -> list[Check]:
        """Return one line for each role, and one before them if every request was refused."""
        # All lists first: their rows name the records that are read afterwards.
        lists = {need.entity: self._list(need) for need in self._needs if LIST in need.ways}
        lines: list[Check] = []
        for need in self._needs:
            if LIST in need.ways:
                lines.append(lists[need.entity])
            if READ in need.ways:
                lines.append(self._read(need))
        if self._tried == {ReplyKind.NO_RIGHT}:
            found = "the sign-in works, but Nexudus refuses every request"
            lines.insert(0, Topic.RIGHTS.problem("API access", found, _ACCESS))
        return lines

    def _list(self, need: Need) -> Check:
        reply, page = self._page_of(need.entity)
        name = role(need.entity, LIST)
        self._note(name, reply.kind)
        if page is None:
            return _refused(need, name, reply)
        if not page.rows:
            found = "the list is empty"
            return Topic.RIGHTS.note(name, found, _NONE_YET)
        total = "" if page.total is None else f"; there are {page.total}"
        return Topic.RIGHTS.ok(name, f"can be listed{total}")

    def _read(self, need: Need) -> Check:
        name = role(need.entity, READ)
        record_id = self._id_of(need.entity)
        if record_id is None:
            return Topic.RIGHTS.note(name, "no record of this kind is known to try")
        reply = self._questions.ask(f"{PATHS[need.entity]}/{record_id}")
        self._note(name, reply.kind)
        if reply.kind is not ReplyKind.VALUE:
            return _refused(need, name, reply)
        try:
            load_record(need.entity, reply.value)
        except RecordUnreadable as error:
            return _broken(need, name, f"a record has unexpected fields: {error}", _UNLIKE)
        self._learn(need.entity, reply.value)
        return Topic.RIGHTS.ok(name, "a record was read and understood")

    def _note(self, name: str, kind: ReplyKind) -> None:
        self._tried.add(kind)
        if kind is ReplyKind.NO_RIGHT:
            self.refused.add(name)

    def _page_of(self, entity: Entity) -> tuple[Reply, Page | None]:
        reply = self._questions.ask(PATHS[entity], {"page": "1", "size": "1"})
        if reply.kind is not ReplyKind.VALUE:
            return reply, None
        try:
            page = load_page(reply.value)
        except RecordUnreadable:
            return Reply(ReplyKind.TROUBLE, sentence="the answer of Nexudus is not a list"), None
        for row in page.rows:
            self._learn(entity, row)
        return reply, page

    def _id_of(self, entity: Entity) -> int | None:
        found = self._ids.get(entity) or self._known(entity)
        is_listed = any(need.entity is entity and LIST in need.ways for need in self._needs)
        if found is None and not is_listed:
            self._page_of(entity)  # we do not need this list, but it may be allowed
            found = self._ids.get(entity)
        return found

    def _learn(self, entity: Entity, row: object) -> None:
        for named, record_id in _named_by(entity, row) if isinstance(row, Mapping) else ():
            self._ids.setdefault(named, record_id)


def _named_by(entity: Entity, row: Mapping[str, object]) -> Iterator[tuple[Entity, int]]:
    for name, named in {"Id": entity, **_NAMES_ANOTHER}.items():
        value = row.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            yield named, value


def _refused(need: Need, name: str, reply: Reply) -> Check:
    """Return the check of something that could not be listed or read."""
    match reply.kind:
        case ReplyKind.NO_RIGHT:
            return _broken(
                need, name, reply.sentence, f"In Nexudus, give our user the role {name}."
            )
        case ReplyKind.BUSY:
            return Topic.RIGHTS.note(name, f"not checked: {reply.sentence}", AGAIN)
        case ReplyKind.MISSING if not name.endswith(LIST):
            found = "the record that was tried is gone, so the role is unknown"
            return Topic.RIGHTS.note(name, found, AGAIN)
        case _:
            return _broken(need, name, reply.sentence, f"{AGAIN} If it persists, ask Nexudus.")


def _broken(need: Need, name: str, found: str, fix: str) -> Check:
    lost = f"; without it {need.without}" if need.without else ""
    if need.is_optional:
        return Topic.RIGHTS.note(name, f"{found}{lost}", fix)
    return Topic.RIGHTS.problem(name, f"{found}{lost}", fix)
