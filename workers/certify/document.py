"""A certificate as one document of plain values, with the same bytes for the same content. Pure."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from schemas.entity import Entity
from workers.certify.values import Certificate, Counts, Difference, Line
from workers.certify.words import SENTENCES, Fate

KIND = "coursebell completeness certificate"  # by which a certificate is known from other JSON
FORM = 1
PLANNED = "planned"  # in place of a reason: an email waits for nothing but its time
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Maker:
    """Who certifies what: the address of the tenant, our version, and the rules in force."""

    tenant: str
    version: str
    rules: str
    made_at: datetime


def document_of(certificate: Certificate, maker: Maker) -> Document:
    """Return the certificate as JSON values, unsigned."""
    window = certificate.window
    return {
        "kind": KIND,
        "form": FORM,
        "tenant": maker.tenant,
        "version": maker.version,
        "rules": maker.rules,
        "made_at": _moment(maker.made_at),
        "from": window.first.isoformat(),
        "to": window.last.isoformat(),
        "zone": window.zone.key,
        "since": _moment(window.since),
        "until": _moment(window.until),
        "is_cut": window.is_cut,
        "lines": [_line(line) for line in certificate.lines],
        "totals": _numbers(certificate.totals),
        "reasons": _reasons(certificate.totals),
        "not_here": certificate.not_here,
        "only_here": certificate.only_here,
        "carried_over": certificate.carried_over,
        "attempts_kept_since": (
            None if certificate.traced_since is None else _moment(certificate.traced_since)
        ),
        "differences": [_difference(one) for one in certificate.differences],
        "sums": [
            {"what": one.what, "counted": one.counted, "shown": one.shown}
            for one in certificate.sums
        ],
        "closes": certificate.closes,
        "complete": certificate.is_clean,
    }


def canonical(document: Mapping[str, Any]) -> bytes:
    """Return the one way to write this document."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return text.encode("ascii")


def _line(line: Line) -> Document:
    return {
        "location": line.location,
        "location_id": line.location_id,
        "course": line.course,
        "course_id": line.course_id,
        "day": line.day.isoformat(),
    } | _numbers(line)


def _numbers(line: Line) -> Document:
    return {
        "at_source": _by_entity(line.at_source.get),
        "here": _by_entity(line.here.get),
        "fates": _counted(line.fates, "fate"),
        "events": dict(sorted(line.events.items())),
        "event_fates": _counted(line.event_fates, "fate"),
        "emails": _counted(line.emails, "state"),
    }


def _by_entity(number: Callable[[Entity, int], int]) -> Document:
    return {
        "enrolments": number(Entity.COURSE_MEMBER, 0),
        "lessons": number(Entity.COMPLETED_LESSON, 0),
    }


def _counted(counts: Counts, word: str) -> list[Document]:
    return [
        {word: str(fate), "reason": None if reason is None else str(reason), "number": number}
        for (fate, reason), number in sorted(
            counts.items(), key=lambda one: (one[0][0], one[0][1] or "")
        )
        if number
    ]


def _reasons(totals: Line) -> Document:
    found: Document = {}
    for name, counts in (
        ("rows", totals.fates),
        ("events", totals.event_fates),
        ("emails", totals.emails),
    ):
        for (fate, reason), number in counts.items():
            word = PLANNED if reason is None and fate == Fate.WAITING else reason
            if word is not None and number:
                row = found.setdefault(str(word), {"rows": 0, "events": 0, "emails": 0})
                row[name] += number
    return dict(sorted(found.items()))


def _difference(one: Difference) -> Document:
    return {
        "kind": one.kind.value,
        "sentence": SENTENCES[one.kind],
        "day": one.day.isoformat(),
        "location": one.location,
        "course": one.course,
        "person": one.person,
        "lesson": one.lesson,
        "entity": None if one.entity is None else one.entity.value,
        "id": one.record_id,
        "detail": one.detail,
    }


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
