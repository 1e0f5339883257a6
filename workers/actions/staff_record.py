"""What notes and tasks at Nexudus share: a text of the rule that is looked for, then written."""

import abc
import hashlib
from datetime import datetime

from schemas.actions import fill_text
from schemas.errors import (
    ChannelUnavailable,
    DeliveryRefused,
    RecordUnreadable,
    SourceRefused,
    SourceThrottled,
    SourceUnavailable,
)
from schemas.reasons import Reason
from schemas.text import one_line
from workers.actions.base import Action, ActionContext, Checkpoints, DeliveryReasons, Prepared
from workers.source.answers import AccessDenied, WriteDenied
from workers.source.staff_records import StaffRecord, write_once

_MARKER_LENGTH = 12  # hex digits of the digest of a key; the list of one coworker is short
_VERSION = "staff-1"
_MOST_TITLES = 10


def marker_of(action_key: str) -> str:
    """Return the words by which the record of an action is recognised."""
    return f"Coursebell {hashlib.sha256(action_key.encode()).hexdigest()[:_MARKER_LENGTH]}"


def filled(text: str, context: ActionContext) -> str:
    """Return the text of a rule with the names and titles for its places.

    Angle brackets are replaced, since what members call themselves must not become a page.
    """
    titles = {one.record_id: one.title for one in context.lessons}
    about = [titles.get(one.lesson_id or 0) for one in context.events]
    values = {
        "member": context.person.full_name,
        "course": context.course.title,
        "lesson": ", ".join(dict.fromkeys(one_line(one) for one in about[:_MOST_TITLES] if one)),
    }
    return fill_text(text, {place: _harmless(value) or "?" for place, value in values.items()})


def _harmless(text: str) -> str:
    return one_line(text).replace("<", "\u2039").replace(">", "\u203a")


class StaffRecordAction(Action, abc.ABC):
    """Writes a record for the staff. Repeatable: it looks for its record before it writes."""

    repeatable = True
    reasons = DeliveryReasons(maybe_own=frozenset({Reason.DELIVERY_DOWN}))

    @abc.abstractmethod
    def record(self, context: ActionContext, text: str, marker: str) -> StaffRecord:
        """Return what to write.

        Raises:
            DeliveryRefused: it cannot be written.
        """

    def prepare(self, context: ActionContext) -> Prepared:
        """Return the record for this context. See `Action.prepare`."""
        rule = context.rule
        if rule is None or rule.text is None:
            raise DeliveryRefused("the rule has no text any more")
        text = filled(rule.text, context)
        record = self.record(context, text, marker_of(context.action_key))

        def send(checkpoints: Checkpoints) -> str:
            return _written(record, checkpoints)

        return Prepared(None, one_line(text), f"{text}\n".encode(), "text/plain", send, _VERSION)


def first_moment(context: ActionContext) -> datetime:
    """Return the moment before which the record of this action cannot have been written."""
    return min(one.happened_at for one in context.events)


def _written(record: StaffRecord, checkpoints: Checkpoints) -> str:
    """Write the record and return the receipt."""
    checkpoints.before_step()
    try:
        with checkpoints.lend() as session:
            record_id, is_new = write_once(session, record, checkpoints.before_commit)
    except (WriteDenied, AccessDenied) as error:
        roles = f"it needs the roles {record.kind.name}-List and -Create"
        raise ChannelUnavailable(
            Reason.WRITE_DENIED, f"our Nexudus user may not write this; {roles}", answer=str(error)
        ) from None
    except SourceThrottled as error:
        raise ChannelUnavailable(
            Reason.DELIVERY_BUSY,
            "Nexudus asked us to wait",
            answer=str(error),
            retry_after_s=error.retry_after_s,
        ) from None
    except (SourceUnavailable, RecordUnreadable) as error:
        raise ChannelUnavailable(
            Reason.DELIVERY_DOWN, "Nexudus did not answer", answer=str(error)
        ) from None
    except SourceRefused as error:
        raise DeliveryRefused("Nexudus refused it", detail=str(error)) from None
    name = record.kind.name if record_id is None else f"{record.kind.name} {record_id}"
    return name if is_new else f"{name} was there already"
