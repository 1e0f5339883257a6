"""Report preview: how a digest or the weekly summary would be now.

It is written by what writes the real ones, as `coursebell reports preview` shows it. Nothing is
sent, and Nexudus is not asked.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from flask import Response

from ledger.engine import Connection, reading
from ledger.people import names_of
from schemas.actions import HOST, Outcome, audience_of
from schemas.errors import DeliveryRefused
from schemas.reasons import Reason
from schemas.rules import Digest
from service.cli.readers import report_tools
from service.desk.message import text_page
from service.desk.visit import Visit
from service.desk.wording import explained
from workers.actions.base import Prepared
from workers.actions.email.message import read_message
from workers.reports.listing import draft_now, previewed
from workers.reports.situation import SUMMARY
from workers.reports.study import hosts_of_digest

_NOBODY = ("you@example.org",)  # to whom the summary is as long as nobody gets it
_MOST_HOSTS = 100


@dataclass(frozen=True, slots=True)
class ReportShot:
    """One report as it would be now: the hosts to choose from, whose it is, and its parts.

    `why_not` says why there is none now.
    """

    hosts: Mapping[int, str] = field(default_factory=dict, repr=False)
    host_id: int | None = None
    reader: str = field(default="", repr=False)
    prepared: Prepared | None = field(default=None, repr=False)
    why_not: str = ""


def show(visit: Visit, name: str) -> Response:
    """Show a report as it would be now, to the host that the address names or the first one."""
    shot = _shot(visit, name)
    if shot is None:
        return _missing(visit)
    kept = None if shot.prepared is None else read_message(shot.prepared.body)
    return visit.page("report.html", name=name, title=visit.rule_title(name), shot=shot, kept=kept)


def body(visit: Visit, name: str) -> Response:
    """Return the text of a report as a page of its own, for the frame of the first."""
    shot = _shot(visit, name)
    if shot is None or shot.prepared is None:
        return _missing(visit)
    return text_page(visit, read_message(shot.prepared.body).html)


def _shot(visit: Visit, name: str) -> ReportShot | None:
    """Return the report; None if none has this name."""
    rules = visit.pages.rules.setup().rules
    digest = rules.digest_named(name)
    if digest is None and name != SUMMARY:
        return None
    settings = visit.pages.settings
    is_to_nobody = name == SUMMARY and not settings.operator_email
    if is_to_nobody:
        settings = replace(settings, operator_email=_NOBODY)
    with reading(visit.pages.engine) as connection:
        shot = ReportShot() if digest is None else _chosen(visit, connection, digest)
        if shot.why_not:
            return shot
        tools = report_tools(settings, visit.pages.engine, rules)

        def reader(one: Digest) -> tuple[str, int | None]:
            whose = HOST if one.is_to_hosts else audience_of(one.to[0]) or ""
            return whose, shot.host_id

        report, draft = draft_now(connection, tools, name, reader, visit.now)
    if isinstance(draft, Outcome):
        return replace(shot, why_not=explained(visit.times, draft.reason))
    whom = draft.reader.name or visit.masked(draft.reader.address) or ""
    whom = visit.language.say("nobody yet") if is_to_nobody else whom
    try:
        prepared = previewed(tools, report, draft, visit.now)
    except DeliveryRefused:
        return replace(shot, why_not=explained(visit.times, Reason.TEMPLATE_ERROR))
    return replace(shot, reader=whom, prepared=prepared)


def _chosen(visit: Visit, connection: Connection, digest: Digest) -> ReportShot:
    """Return the hosts of a digest, and the one that the address names or the first."""
    if not digest.is_to_hosts:
        return ReportShot()
    ids = hosts_of_digest(connection, digest)[:_MOST_HOSTS]
    if not ids:
        none = visit.language.say("No course that it is about has a host, so nobody gets it.")
        return ReportShot(why_not=none)
    wanted, names = visit.number_in_query("to"), names_of(connection, ids)
    hosts = {one: names.get(one) or visit.member_name(one) for one in ids}
    return ReportShot(hosts, wanted if wanted in hosts else ids[0])


def _missing(visit: Visit) -> Response:
    return visit.missing(visit.language.say("There is no report of this name."))
