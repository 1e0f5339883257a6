"""May our user list and read each kind of record? These are two roles, and both are tried.

Of what is read only numbers are kept: the Ids that lead to a record of another kind.
"""

from collections.abc import Callable, Iterator, Mapping

from schemas.entity import PATHS, Entity
from schemas.errors import RecordUnreadable
from schemas.records import load_record
from schemas.records.answers import Page, load_page
from workers.source.checkup.needs import LIST, NAMES_ANOTHER, NEEDS, READ, Need, role
from workers.source.checkup.questions import Came, Questions, Said
from workers.source.checkup.values import AGAIN, Check, Topic, Verdict
from workers.source.lists import Row

_WHOLE = {Entity.TIME_ZONE, Entity.WEB_HOOK}  # there are few of them, and others look at all
_NONE_YET = (
    "Nothing, if there are none in Nexudus yet. Else link our Nexudus user to the locations where"
    " they are."
)
_UNLIKE = (
    "Look for a newer version of Coursebell. If there is none, tell us the names of these fields."
)
_ACCESS = (
    'In Nexudus, switch "API Access" on for our user, and give it the roles below. The account of a'
    " portal member is not enough. Or somebody ended our sign-in just now: then look again in a"
    " minute."
)


class Rights:
    """Tries every right. `known` gives the Id of such a record from the ledger, if there is one.

    `rows` are the lists that were read as a whole; one that could not be read is not there.
    """

    def __init__(self, questions: Questions, known: Callable[[Entity], int | None]) -> None:
        self._questions = questions
        self._known = known
        self._ids: dict[Entity, int] = {}
        self.rows: dict[Entity, list[Row]] = {}

    def checks(self) -> list[Check]:
        """Return one line for each role."""
        # All lists first: their rows name the records that are read afterwards.
        lists = {need.entity: self._listed(need) for need in NEEDS if LIST in need.ways}
        found: list[tuple[Check, Came | None]] = []
        for need in NEEDS:
            if LIST in need.ways:
                found.append(lists[need.entity])
            if READ in need.ways:
                found.append(self._read(need))
        lines = [line for line, _ in found]
        tried = {came for _, came in found if came is not None}
        return [*_no_access(tried), *lines]

    def _listed(self, need: Need) -> tuple[Check, Came | None]:
        said, page = self._page_of(need.entity)
        name = role(need.entity, LIST)
        if page is None:
            return _not(need, name, said), said.came
        if not page.rows:
            found = "the list is empty, so what it would show cannot be told"
            return Check(Topic.RIGHTS, name, Verdict.NOTE, found, _NONE_YET), said.came
        total = "" if page.total is None else f"; there are {page.total}"
        return Check(Topic.RIGHTS, name, Verdict.OK, f"they can be listed{total}"), said.came

    def _read(self, need: Need) -> tuple[Check, Came | None]:
        name = role(need.entity, READ)
        record_id = self._id_of(need.entity)
        if record_id is None:
            found = "no record of this kind is known to try it with"
            return Check(Topic.RIGHTS, name, Verdict.NOTE, found), None
        said = self._questions.ask(f"{PATHS[need.entity]}/{record_id}")
        if said.came is not Came.VALUE:
            return _not(need, name, said), said.came
        try:
            load_record(need.entity, said.value)
        except RecordUnreadable as error:
            found = f"one was read, and is unlike what we know: {error}"
            return _bad(need, name, found, _UNLIKE), said.came
        self._learn(need.entity, said.value)
        return Check(Topic.RIGHTS, name, Verdict.OK, "one was read, and understood"), said.came

    def _page_of(self, entity: Entity) -> tuple[Said, Page | None]:
        size = "1000" if entity in _WHOLE else "1"
        said = self._questions.ask(PATHS[entity], {"page": "1", "size": size})
        if said.came is not Came.VALUE:
            return said, None
        try:
            page = load_page(said.value)
        except RecordUnreadable:
            return Said(Came.TROUBLE, sentence="what Nexudus answers is no list"), None
        for row in page.rows:
            self._learn(entity, row)
        if entity in _WHOLE:
            self._keep_all(entity, page)
        return said, page

    def _keep_all(self, entity: Entity, page: Page) -> None:
        if not page.has_next:
            self.rows[entity] = page.rows
            return
        said = self._questions.surely(lambda one: Said(Came.VALUE, one.lists.whole(entity)))
        if said.came is Came.VALUE and isinstance(said.value, list):
            self.rows[entity] = said.value

    def _id_of(self, entity: Entity) -> int | None:
        found = self._ids.get(entity) or self._known(entity)
        if found is None and not any(need.entity is entity and LIST in need.ways for need in NEEDS):
            self._page_of(entity)  # nobody needs this list, but it may be there
            found = self._ids.get(entity)
        return found

    def _learn(self, entity: Entity, row: object) -> None:
        if not isinstance(row, Mapping):
            return
        for named, record_id in _named_by(entity, row):
            self._ids.setdefault(named, record_id)


def _named_by(entity: Entity, row: Mapping[str, object]) -> Iterator[tuple[Entity, int]]:
    for field, named in {"Id": entity, **NAMES_ANOTHER}.items():
        value = row.get(field)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            yield named, value


def _no_access(tried: set[Came]) -> list[Check]:
    """Say what it looks like when every single question is refused."""
    if tried != {Came.NO_RIGHT}:
        return []
    found = "Nexudus lets us in and then refuses every question"
    return [Check(Topic.RIGHTS, "API access", Verdict.PROBLEM, found, _ACCESS)]


def _not(need: Need, name: str, said: Said) -> Check:
    """Say why something could not be listed or read."""
    match said.came:
        case Came.NO_RIGHT:
            fix = f"In Nexudus, give our user the role {name}."
            return _bad(need, name, said.sentence, fix)
        case Came.BUSY:
            found = f"not found out: {said.sentence}"
            return Check(Topic.RIGHTS, name, Verdict.NOTE, found, AGAIN)
        case Came.MISSING if not name.endswith(LIST):
            found = "the record that was tried is gone, so this cannot be told"
            return Check(Topic.RIGHTS, name, Verdict.NOTE, found, AGAIN)
        case _:
            return _bad(need, name, said.sentence, f"{AGAIN} If it stays, ask Nexudus.")


def _bad(need: Need, name: str, found: str, fix: str) -> Check:
    if need.without is None:
        return Check(Topic.RIGHTS, name, Verdict.PROBLEM, found, fix)
    return Check(Topic.RIGHTS, name, Verdict.NOTE, f"{found}; without it {need.without}", fix)
