"""Every reason has words for an operator, and the page says what it asks of them."""

import re

from schemas.reasons import EXPLANATIONS, Reason
from tests.house.source_tree import ROOT, modules, table_rows

NOT_USED = "Not used by this version."


def test_every_reason_is_explained_and_says_who_acts() -> None:
    assert list(EXPLANATIONS) == list(Reason)
    assert {one.who_acts for one in EXPLANATIONS.values()} <= {"nobody", "operator", "engineer"}
    assert all(one.sentence for one in EXPLANATIONS.values())


def test_the_page_has_every_reason_in_the_same_words() -> None:
    words = {f"`{reason.value}`" for reason in Reason}
    rows = [row for row in table_rows("using-it.md") if row[0] in words]
    assert [row[:3] for row in rows] == [
        [f"`{reason.value}`", EXPLANATIONS[reason].sentence, EXPLANATIONS[reason].who_acts]
        for reason in Reason
    ]
    assert all(row[3] for row in rows)


def test_the_page_says_which_reasons_are_unused() -> None:
    source = "".join(text for path, _, text in modules() if path != "schemas/reasons.py")
    unused = {f"`{one.value}`" for one in Reason if f"Reason.{one.name}" not in source}
    documented = {row[0] for row in table_rows("using-it.md") if row[-1] == NOT_USED}
    assert documented == unused


FOLDER = ROOT / "tests"
# A test that yields each reason which the histories in plain words do not lead to.
ELSEWHERE = {
    Reason.GATHERING: "contract/test_missed_changes.py",
    Reason.DELIVERY_BUSY: "contract/test_webhooks.py",
    Reason.WRITE_DENIED: "contract/test_staff_records.py",
    Reason.ENDPOINT_ADDRESS: "contract/test_webhook_exchange.py",
    Reason.ENDPOINT_GONE: "contract/test_webhooks.py",
    Reason.ENDPOINT_REFUSES: "contract/test_refusing_endpoints.py",
    Reason.PAUSED: "contract/test_pauses.py",
    Reason.NOTHING_HAPPENED: "contract/test_digests.py",
    Reason.ON_HOLD: "contract/test_hold_and_skip.py",
    Reason.RESTORED: "contract/test_restored.py",
    Reason.SNOOZED: "contract/test_choices_honoured.py",
    Reason.IMPORTED: "contract/test_reconcile_import.py",
    Reason.BOUNCED_BEFORE: "contract/test_mail_reports.py",
    Reason.DUPLICATE: "contract/test_certify.py",
    Reason.CHANGED_MEANWHILE: "unit/test_send_check.py",
    Reason.NOT_THERE_YET: "contract/test_economy.py",
    Reason.RECORD_STUCK: "contract/test_nobody_forgotten.py",
    Reason.NEXUDUS_DOWN: "contract/test_source_outages.py",
    Reason.NEXUDUS_BUSY: "contract/test_source_outages.py",
    Reason.MAIL_TEMPORARY: "contract/test_study.py",
    Reason.MAIL_RATE: "contract/test_sending_rate.py",
    Reason.MAIL_REJECTED: "contract/test_resend.py",
    Reason.MAIL_TOO_LARGE: "contract/test_mailer_faults.py",
    Reason.MAIL_NOT_SET: "unit/test_template_events.py",
    Reason.MAIL_UNREACHABLE: "contract/test_mailer_faults.py",
    Reason.MAIL_BUSY: "contract/test_mailer_faults.py",
    Reason.MAIL_REFUSES_US: "contract/test_mailer_faults.py",
    Reason.MAIL_TLS: "contract/test_mailer_faults.py",
    Reason.MAIL_STARTTLS: "contract/test_mailer_faults.py",
    Reason.MAIL_CERTIFICATE: "contract/test_mailer.py",
    Reason.MAIL_LOGIN: "contract/test_mailer.py",
    Reason.MAIL_SENDER: "contract/test_mailer_faults.py",
    Reason.MAIL_RELAY: "contract/test_mailer_faults.py",
    Reason.MAIL_INTERRUPTED: "contract/test_mailer_faults.py",
    Reason.DELIVERY_LATER: "contract/test_other_kinds.py",
    Reason.DELIVERY_REFUSED: "contract/test_other_kinds.py",
    Reason.DELIVERY_DOWN: "contract/test_other_kinds.py",
    Reason.HANDOVER_UNKNOWN: "contract/test_clock_ahead.py",
    Reason.TEMPLATE_ERROR: "unit/test_letters.py",
    Reason.UNREADABLE: "contract/test_nobody_forgotten.py",
    Reason.NEXUDUS_REFUSED: "contract/test_source_outages.py",
    Reason.INTERNAL_ERROR: "contract/test_study.py",
}
RESERVED = {Reason.BAD_SIGNATURE}  # for versions to come
_SAID = re.compile(r"(?:: |after |, )([a-z]+(?:-[a-z]+)*)(?=[\n,)]|$)")


def test_every_reason_is_reached_by_a_test() -> None:
    """Each is the result of a history in plain words, or is named by the test that yields it."""
    histories = (FOLDER / "unit" / "decide_cases").glob("*.yaml")
    said = {word for path in histories for word in _SAID.findall(path.read_text("utf-8"))}
    shown = {reason for reason in Reason if reason.value in said}
    assert shown | ELSEWHERE.keys() | RESERVED == set(Reason)
    assert not shown & ELSEWHERE.keys()
    for reason, name in ELSEWHERE.items():
        text = (FOLDER / name).read_text("utf-8")
        assert f"Reason.{reason.name}" in text or f'"{reason.value}"' in text, (reason, name)


def test_reserved_reasons_are_those_that_the_page_calls_unused() -> None:
    unused = {row[0] for row in table_rows("using-it.md") if row[-1] == NOT_USED}
    assert unused == {f"`{reason.value}`" for reason in RESERVED}
