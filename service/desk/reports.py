"""Report preview: how a digest or the weekly summary would be now.

It is written by what writes the real ones, as `coursebell reports preview` shows it, in the
background. Nothing is sent, and Nexudus is not asked.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from flask import Response

from ledger.engine import Connection, reading
from ledger.people import names_of
from schemas.rules import Digest
from service.desk.message import height_class, text_page
from service.desk.visit import Visit
from service.desk.wording import explained
from workers.actions.base import Prepared
from workers.actions.email.message import read_message
from workers.reports.situation import SUMMARY
from workers.reports.study import hosts_of_digest

_MOST_HOSTS = 100


@dataclass(frozen=True, slots=True)
class ReportShot:
    """One report as it would be now: the hosts to choose from, whose it is, and its parts.

    `why_not` says why there is none now; `is_written`: it need not be waited for.
    """

    hosts: Mapping[int, str] = field(default_factory=dict, repr=False)
    host_id: int | None = None
    reader: str = field(default="", repr=False)
    prepared: Prepared | None = field(default=None, repr=False)
    why_not: str = ""
    is_written: bool = True


def show(visit: Visit, name: str) -> Response:
    """Show a report as it would be now, to the host that the address names or the first one."""
    shot = _shot(visit, name)
    if shot is None:
        return _missing(visit)
    if not shot.is_written:
        return visit.again_page("writing.html", to=shot.host_id)
    kept = None if shot.prepared is None else read_message(shot.prepared.body)
    return visit.page(
        "report.html",
        name=name,
        title=visit.rule_title(name),
        shot=shot,
        kept=kept,
        height="" if kept is None else height_class(kept.text),
    )


def body(visit: Visit, name: str) -> Response:
    """Return the text of a report as a page of its own, for the frame of the first."""
    shot = _shot(visit, name)
    if shot is not None and not shot.is_written:
        return visit.again_page("writing.html", to=shot.host_id)
    if shot is None or shot.prepared is None:
        return _missing(visit)
    return text_page(visit, read_message(shot.prepared.body).html)


def _shot(visit: Visit, name: str) -> ReportShot | None:
    """Return the report; None if none has this name."""
    rules = visit.pages.rules.setup().rules
    digest = rules.digest_named(name)
    if digest is None and name != SUMMARY:
        return None
    shot = ReportShot()
    if digest is not None and digest.is_to_hosts:
        with reading(visit.pages.engine) as connection:
            shot = _chosen(visit, connection, digest)
    if shot.why_not:
        return shot
    found = visit.pages.drafts.newest(rules, name, shot.host_id)
    if found is None:
        return replace(shot, is_written=False)
    if found.prepared is None:
        return replace(shot, why_not=explained(visit.times, found.why_not))
    reader = found.reader or visit.masked(found.address) or ""
    if name == SUMMARY and not visit.pages.settings.operator_email:
        reader = visit.language.say("nobody yet")
    return replace(shot, reader=reader, prepared=found.prepared)


def _chosen(visit: Visit, connection: Connection, digest: Digest) -> ReportShot:
    """Return the hosts of a digest, and the one that the address names or the first."""
    ids = hosts_of_digest(connection, digest)[:_MOST_HOSTS]
    if not ids:
        none = visit.language.say("No course that it is about has a host, so nobody gets it.")
        return ReportShot(why_not=none)
    wanted, names = visit.number_in_query("to"), names_of(connection, ids)
    hosts = {one: names.get(one) or visit.member_name(one) for one in ids}
    return ReportShot(hosts, wanted if wanted in hosts else ids[0])


def _missing(visit: Visit) -> Response:
    return visit.missing(visit.language.say("There is no report of this name."))
