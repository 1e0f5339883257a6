"""The whole service with changing courses, lessons that do not count, and markup.

The number in a test's name is that of the pitfall in the table of docs/source.md.
"""

import re
from html.parser import HTMLParser

import pytest

from schemas.entity import Entity
from tests.e2e.house import House
from tests.pitfalls.pitfall_house import (
    CALLIGRAPHY,
    CERAMICS,
    FINANCE,
    FINISHED,
    WELCOME,
    after_a_while,
    behave,
    finish,
    is_titled,
    letters,
    switch_on,
    wait_letters,
)


def test_29_the_last_lesson_of_a_course_is_not_its_end(house: House) -> None:
    member = house.sandbox.enrol("Joël", FINANCE)
    lessons = _lessons(house, FINANCE)
    finish(house, member, lessons["Quarterly returns"])
    wait_letters(house, "joel", FINANCE, 2)
    assert _ends(house, "joel", FINANCE) == []
    house.sandbox.post("/sandbox/finish-course", course_member_id=member)
    house.wait_idle()
    [end] = _ends(house, "joel", FINANCE)
    assert "every lesson, 4 in all" in " ".join(end["text"].split())


@pytest.mark.parametrize(
    ("title", "extra", "counting"),
    [
        (FINANCE, ["Words to know", "Cash books (old)"], 4),
        (CALLIGRAPHY, ["معرض 2024"], 2),
    ],
    ids=["not tracked, not active", "in a section taken out"],
)
def test_29_lessons_that_do_not_count_neither_finish_a_course_nor_prevent_it(
    house: House, title: str, extra: list[str], counting: int
) -> None:
    member = house.sandbox.enrol("Zoë", title)
    lessons = _lessons(house, title)
    for one in extra:
        finish(house, member, lessons[one])
    needed = [one for one in lessons if one not in extra]
    assert len(needed) == counting
    for one in needed[:-1]:
        finish(house, member, lessons[one])
    house.wait_idle()
    assert _ends(house, "zoe", title) == []
    finish(house, member, lessons[needed[-1]])
    house.wait_idle()
    [end] = _ends(house, "zoe", title)
    assert f"every lesson, {counting} in all" in " ".join(end["text"].split())


def test_29_a_lesson_added_later_causes_no_second_course_email(house: House) -> None:
    member = house.sandbox.enrol("Jonas", FINANCE)
    house.sandbox.post("/sandbox/finish-course", course_member_id=member)
    house.wait_idle()
    assert len(_ends(house, "jonas", FINANCE)) == 1
    added = _lessons(house, FINANCE)["Cash books (old)"]
    _change(house, Entity.LESSON, added, Active=True)
    after_a_while(house)
    other = house.sandbox.enrol("Siobhán", FINANCE)
    for title, lesson_id in _lessons(house, FINANCE).items():
        if title not in {"Words to know", "Cash books (old)"}:
            finish(house, other, lesson_id)
    house.wait_idle()
    assert _ends(house, "siobhan", FINANCE) == []  # for her there is one more to do
    for whose in (member, other):
        finish(house, whose, added)
    house.wait_idle()
    assert len(_ends(house, "jonas", FINANCE)) == 1
    [end] = _ends(house, "siobhan", FINANCE)
    assert "every lesson, 5 in all" in " ".join(end["text"].split())
    _change(house, Entity.LESSON, added, Active=False)
    after_a_while(house)


def test_30_a_lesson_done_again_under_another_id_is_emailed_about_once(
    house: House,
) -> None:
    member = house.sandbox.enrol("נועה", FINANCE)
    first = _lessons(house, FINANCE)["Your day rate"]
    completed = finish(house, member, first)
    wait_letters(house, "noa.levi", FINANCE, 2)
    _delete(house, Entity.COMPLETED_LESSON, completed)
    again = finish(house, member, first)
    house.wait_idle()
    assert again != completed
    assert len(letters(house, "noa.levi", FINANCE)) == 2


def test_30_a_member_who_enrols_and_finishes_again_is_congratulated_once(house: House) -> None:
    member = house.sandbox.enrol("ليلى", CALLIGRAPHY)
    house.sandbox.post("/sandbox/finish-course", course_member_id=member)
    house.wait_idle()
    _delete(house, Entity.COURSE_MEMBER, member)
    again = house.sandbox.enrol("ليلى", CALLIGRAPHY)
    assert again != member
    house.sandbox.post("/sandbox/finish-course", course_member_id=again)
    house.wait_idle()
    written = letters(house, "layla", CALLIGRAPHY)
    assert sum(is_titled(one, WELCOME, CALLIGRAPHY) for one in written) == 1
    assert len(_ends(house, "layla", CALLIGRAPHY)) == 1


def test_30_a_record_deleted_without_a_trace_is_gone_and_nothing_is_sent(
    house: House,
) -> None:
    member = house.sandbox.enrol("Siobhán", CALLIGRAPHY)
    completed = finish(house, member)
    wait_letters(house, "siobhan", CALLIGRAPHY, 2)
    _delete(house, Entity.COURSE_MEMBER, member)  # its completions go with it
    house.relay({"entity": "CourseCompletedLesson", "id": completed})
    house.sandbox.post("/sandbox/deliver", entity="CourseMember", id=member)
    house.wait_idle()
    looked = house.rows(
        f"SELECT state, reason FROM lookups WHERE record_id IN ({member}, {completed})"
    )
    assert looked == [("done", "record-gone")] * 2
    assert len(letters(house, "siobhan", CALLIGRAPHY)) == 2
    assert "record-gone" in house.run("status", "--json").stdout


def test_34_markup_typed_into_titles_is_text(house: House) -> None:
    member = house.sandbox.enrol("Joël", CERAMICS)
    house.sandbox.post("/sandbox/finish-course", course_member_id=member)
    house.wait_idle()
    for mail in letters(house, "joel", CERAMICS):
        assert "Ceramics: Feuer & Glasur <Grundkurs>" in mail["subject"]
        assert "Ceramics: Feuer &amp; Glasur &lt;Grundkurs&gt;" in mail["html"]
        assert "<Grundkurs>" not in mail["html"]


def test_34_a_script_in_titles_stays_a_title(house: House) -> None:
    after_a_while(house)
    switch_on(house, "html-in-titles")
    member = house.sandbox.enrol("Jonas", CERAMICS)
    finish(house, member)
    house.wait_idle()
    written = house.mails("jonas")[-2:]
    assert {one["subject"][:13] for one in written} == {"You're in: <b", "You finished "}
    for mail in written:
        tags = _Tags()
        tags.feed(mail["html"])
        assert "script" not in tags.names
        assert not any(name.startswith("on") for name in tags.attributes)
        assert '<b onclick="alert(1)">' in mail["text"]
        assert "&lt;script&gt;" in mail["html"]
        assert re.search(r"<script>alert\(", mail["text"])
    behave(house)
    after_a_while(house)


class _Tags(HTMLParser):
    """Notes what a mail reader would take for markup."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}


def _lessons(house: House, title: str) -> dict[str, int]:
    courses = house.sandbox.get("/sandbox/courses").json()
    [found] = [one for one in courses if one["title"] == title]
    return {one["title"]: one["id"] for one in found["lessons"]}


def _ends(house: House, address: str, title: str) -> list[dict[str, str]]:
    """Return the emails that congratulate on the whole course."""
    return [one for one in letters(house, address, title) if is_titled(one, FINISHED, title)]


def _change(house: House, entity: Entity, record_id: int, **fields: object) -> None:
    house.sandbox.post("/sandbox/change", entity=entity, id=record_id, fields=fields)


def _delete(house: House, entity: Entity, record_id: int) -> None:
    house.sandbox.post("/sandbox/delete", entity=entity, id=record_id)
