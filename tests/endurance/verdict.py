"""Compares what was answered, what the ledger says and what the mail server got. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from schemas.actions import ActionState, LookupState
from schemas.entity import Entity
from workers.actions.email.message import message_id
from workers.actions.staff_record import marker_of
from workers.actions.webhook.message import message_id as webhook_id

DOMAIN = "example.org"  # of the sender, which the Message-ID is made with
MOST_AT_DOT = 2  # in a run


@dataclass(frozen=True, slots=True)
class Accepted:
    """One notification answered 202, and the key of the event that the record shows."""

    entity: Entity
    record_id: int
    event_key: str


@dataclass(frozen=True, slots=True)
class Kept:
    """What the ledger has at the end; records are by entity and Id."""

    notifications: Counter[tuple[str, int]]
    lookups: dict[tuple[str, int], str]  # the state of each
    planned: dict[str, str]  # from the key of an event to that of the action about it
    actions: dict[str, str]  # the state of each, by key
    interrupted: int  # attempts that were cut off before the final dot, and made again


@dataclass(slots=True)
class Verdict:
    """The counts. `lost`, `twice` and `early` have one sentence for each fault.

    `at_dot` are the unknown emails of which the server had everything but the final dot. The mark
    that makes them unknown is committed just before the dot is sent, so a kill in the milliseconds
    between leaves one. More than `MOST_AT_DOT` say that the mark comes too early.
    """

    answered: int
    sent: int
    unknown: int
    interrupted: int
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    early: list[str] = field(default_factory=list)  # unknown, though cut off before the dot
    at_dot: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        """Return the counts for people."""
        return (
            f"answered {self.answered}, lost {len(self.lost)}, sent {self.sent}, "
            f"twice {len(self.twice)}, unknown {self.unknown} "
            f"({len(self.at_dot)} at the final dot, {len(self.early)} before it), sent again "
            f"after an interruption {self.interrupted}"
        )

    @property
    def faults(self) -> list[str]:
        """Return everything that must not be."""
        at_dot = self.at_dot if len(self.at_dot) > MOST_AT_DOT else []
        return [*self.lost, *self.twice, *self.early, *at_dot]


def judge(
    accepted: Sequence[Accepted], kept: Kept, taken: Sequence[str], undotted: Sequence[str]
) -> Verdict:
    """Compare. `taken` are the Message-IDs that came whole, `undotted` those without the dot."""
    times = Counter(taken)
    messages = {message_id(key, DOMAIN): key for key in kept.actions}
    unknown = [key for key, state in kept.actions.items() if state == ActionState.UNKNOWN]
    verdict = Verdict(len(accepted), len(times), len(unknown), kept.interrupted)
    answers = Counter((one.entity.value, one.record_id, one.event_key) for one in accepted)
    for (entity, record_id, event_key), number in answers.items():
        record = (entity, record_id)
        wrong = _lost(kept, record, number, event_key)
        verdict.lost += [f"lost: {entity} {record_id}: {wrong}"] if wrong else []
    for message, key in messages.items():
        state = kept.actions[key]
        if state not in {ActionState.DONE, ActionState.UNKNOWN}:
            verdict.lost.append(f"lost: the email of {key} is {state}")
        if state == ActionState.DONE and not times[message]:
            verdict.lost.append(
                f"lost: the mail server never got the email of {key}, which is done"
            )
        if state == ActionState.UNKNOWN and not times[message]:
            if message in undotted:
                verdict.at_dot.append(f"unknown: all but the final dot came of the email of {key}")
            else:
                verdict.early.append(f"unknown: the email of {key} never came to its end")
    verdict.twice += [
        f"twice: the email of {messages.get(message, message)} came {number} times"
        for message, number in times.items()
        if number > 1
    ]
    return verdict


@dataclass(frozen=True, slots=True)
class Told:
    """What else was sent: the kind and state of each such action by key, and what arrived.

    `posts` are the ids of the messages that an endpoint got, `notes` the texts of notes.
    """

    actions: Mapping[str, tuple[str, str]]
    posts: Sequence[str]
    notes: Sequence[str]


@dataclass(slots=True)
class ToldVerdict:
    """The counts; `faults` has one sentence for each. A message may come again with its id."""

    posted: int
    repeated: int
    noted: int
    faults: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        """Return the counts for people."""
        return (
            f"posted {self.posted}, again with the same id {self.repeated}, noted {self.noted}, "
            f"lost or twice {len(self.faults)}"
        )


def judge_told(told: Told) -> ToldVerdict:
    """Compare: every message came with its own id at least once, and every note once."""
    posts = Counter(told.posts)
    ids = {webhook_id(key): key for key, (kind, _) in told.actions.items() if kind == "webhook"}
    verdict = ToldVerdict(len(posts), posts.total() - len(posts), len(told.notes))
    verdict.faults += [f"posted: {one} is the id of no action" for one in posts.keys() - ids.keys()]
    for identity, key in ids.items():
        if told.actions[key][1] != ActionState.DONE or not posts[identity]:
            state = told.actions[key][1]
            verdict.faults.append(f"lost: {key} is {state} and came {posts[identity]} times")
    notes = [key for key, (kind, _) in told.actions.items() if kind == "nexudus-note"]
    for key in notes:
        times = sum(marker_of(key) in note for note in told.notes)
        if times != 1 or told.actions[key][1] != ActionState.DONE:
            verdict.faults.append(f"note: {key} is {told.actions[key][1]}, written {times} times")
    return verdict


def _lost(kept: Kept, record: tuple[str, int], answers: int, event_key: str) -> str | None:
    """Return what is missing of a record whose notifications were answered so often."""
    if kept.notifications[record] < answers:
        return f"{answers} notifications answered, {kept.notifications[record]} kept"
    if kept.lookups.get(record) != LookupState.DONE:
        return f"its lookup is {kept.lookups.get(record, 'missing')}"
    if event_key not in kept.planned:
        return f"no email was planned about {event_key}"
    return None
