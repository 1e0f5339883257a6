"""Whether a rule's `where` holds: each key alone, and all of them together."""

import json

import pytest

from schemas.entity import CompletionType, CoworkerKind, Visibility
from schemas.records import Course, Lesson
from schemas.rules import Where
from schemas.trace import CheckedCondition, TriedRule, dump_tried, load_tried
from tests.builders.records import course, course_member, lesson
from workers.decide.completion import Progress
from workers.decide.conditions import Subject, checked, holds

USUAL_COURSE = course()
USUAL_LESSON = lesson(1)


def subject(
    *,
    about: Course | None = USUAL_COURSE,
    done: Lesson | None = USUAL_LESSON,
    **enrolment: object,
) -> Subject:
    return Subject(course_member(**enrolment), about, done)


def test_a_rule_without_conditions_applies_to_every_member() -> None:
    assert holds(Where(), subject())
    assert holds(Where(), subject(about=None, done=None, course_title=None, coworker_kind=None))


@pytest.mark.parametrize(
    "wanted",
    ["1234", "Freelance Finance", "freelance  FINANCE", " Freelance\u00a0Finance "],
)
def test_a_course_is_named_by_id_or_title(wanted: str) -> None:
    assert holds(Where(course=(wanted,)), subject())
    assert holds(Where(course=("something else", wanted)), subject())


@pytest.mark.parametrize("wanted", ["123", "12345", "Finance", "", "Freelance Finance 2"])
def test_another_course_is_not_meant(wanted: str) -> None:
    assert not holds(Where(course=(wanted,)), subject())


def test_the_courses_own_title_takes_precedence_over_the_enrolments() -> None:
    renamed = subject(about=course(title="Money"))
    assert holds(Where(course=("Money",)), renamed)
    assert not holds(Where(course=("Freelance Finance",)), renamed)
    unread = subject(about=None)
    assert holds(Where(course=("Freelance Finance",)), unread)


def test_names_are_compared_however_they_were_typed() -> None:
    assert holds(Where(course=("STRASSE",)), subject(about=course(title="Straße")))
    composed, decomposed = "Núñez & Söhne", "nu\u0301n\u0303ez & so\u0308hne"
    for wanted, found in ((composed, decomposed), (decomposed, composed)):
        assert holds(Where(course=(wanted,)), subject(about=course(title=found)))
        assert holds(Where(location=(wanted,)), subject(about=course(business_name=found)))
        assert holds(Where(group=(wanted,)), subject(about=course(group_name=found)))
        assert holds(Where(team=(wanted,)), subject(team_names=f"Red, {found}"))


@pytest.mark.parametrize("wanted", ["500", "Harbour Works", "harbour works"])
def test_a_location_is_named_by_id_or_name(wanted: str) -> None:
    assert holds(Where(location=(wanted,)), subject())


def test_another_location_or_an_unknown_one_does_not_fit() -> None:
    assert not holds(Where(location=("Werkhof",)), subject())
    assert not holds(Where(location=("500",)), subject(about=None))
    assert not holds(Where(location=("Werkhof",)), subject(about=course(business_name=None)))


def test_a_group_is_that_of_the_course() -> None:
    assert holds(Where(group=("Arts", "BUSINESS")), subject())
    assert not holds(Where(group=("Arts",)), subject())
    assert not holds(Where(group=("Business",)), subject(about=course(group_name=None)))
    assert not holds(Where(group=("Business",)), subject(about=None))


def test_one_of_the_persons_teams_is_enough() -> None:
    person = subject(team_names="Team Red,  team  Blue ")
    assert holds(Where(team=("Team Blue",)), person)
    assert holds(Where(team=("Team Green", "Team Red")), person)
    assert not holds(Where(team=("Team",)), person)
    assert not holds(Where(team=("Team Red",)), subject(team_names=None))
    assert not holds(Where(team=("Team Red",)), subject(team_names=""))


def test_a_kind_of_customer_fits_or_not_and_unknown_fits_none() -> None:
    companies = Where(coworker_type=(CoworkerKind.COMPANY,))
    assert holds(companies, subject(coworker_kind=CoworkerKind.COMPANY))
    assert not holds(companies, subject(coworker_kind=CoworkerKind.INDIVIDUAL))
    both = Where(coworker_type=tuple(CoworkerKind))
    assert not holds(both, subject(coworker_kind=None))


def test_a_visibility_fits_or_not_and_unknown_fits_none() -> None:
    where = Where(visibility=(Visibility.PUBLIC, Visibility.PAID))
    assert holds(where, subject())
    assert not holds(where, subject(about=course(visibility=Visibility.HIDDEN)))
    assert not holds(where, subject(about=course(visibility=None)))
    assert not holds(where, subject(about=None))


def test_a_completion_type_is_that_of_the_lesson() -> None:
    where = Where(completion_type=(CompletionType.BUTTON,))
    assert holds(where, subject())
    assert not holds(where, subject(done=lesson(1, completion_type=CompletionType.VISITED)))
    assert not holds(where, subject(done=None))


def test_every_condition_must_hold() -> None:
    fitting = Where(
        course=("1234",),
        group=("Business",),
        team=("Red",),
        location=("500",),
        coworker_type=(CoworkerKind.INDIVIDUAL,),
        visibility=(Visibility.PUBLIC,),
        completion_type=(CompletionType.BUTTON,),
    )
    assert holds(fitting, subject(team_names="Red"))
    for wrong in (
        subject(team_names="Red", course_id=9, about=course(title="Other")),
        subject(team_names="Red", about=course(group_name="Arts")),
        subject(team_names="Blue"),
        subject(team_names="Red", about=course(business_id=1, business_name="Werkhof")),
        subject(team_names="Red", coworker_kind=CoworkerKind.COMPANY),
        subject(team_names="Red", about=course(visibility=Visibility.PAID)),
        subject(team_names="Red", done=lesson(1, completion_type=CompletionType.VIDEO)),
    ):
        assert not holds(fitting, wrong)


def test_a_trace_has_each_given_condition_with_what_it_wants_and_what_it_saw() -> None:
    where = Where(
        course=("Pricing", "1234"),
        coworker_type=(CoworkerKind.COMPANY,),
        visibility=(Visibility.PUBLIC,),
        completion_type=(CompletionType.VIDEO,),
        host=("Rita",),
        completion=(50, 99),
        excluded=Where(team=("Blue",), group=("Basics",)),
    )
    about = Subject(
        course_member(coworker_kind=CoworkerKind.INDIVIDUAL, team_names="Red, Blue"),
        course(visibility=Visibility.PUBLIC, host_name=None, group_name="Advanced"),
        lesson(1, completion_type=CompletionType.BUTTON),
        Progress(1, 2, finished=False, next_lesson=None),
    )
    found = checked(where, about)
    assert [(one.name, one.wanted, one.saw, one.holds) for one in found if not one.is_excluded] == [
        ("course", ("Pricing", "1234"), "Freelance Finance", True),
        ("coworker_type", ("company",), "individual", False),
        ("visibility", ("public",), "public", True),
        ("completion_type", ("video",), "button", False),
        ("host", ("Rita",), None, False),
        ("completion", ("50-99",), "50", True),
    ]
    assert [(one.name, one.saw, one.holds) for one in found if one.is_excluded] == [
        ("group", "Advanced", True),
        ("team", "Red, Blue", False),
    ]
    assert not holds(where, about)
    tried = (TriedRule("a-rule", True, found), TriedRule("another", False))  # noqa: FBT003 - a row
    assert load_tried(json.loads(json.dumps(dump_tried(tried)))) == tried


def test_a_value_that_is_not_there_is_traced_as_none() -> None:
    every = Where(
        course=("x",),
        location=("x",),
        group=("x",),
        team=("x",),
        coworker_type=(CoworkerKind.COMPANY,),
        visibility=(Visibility.PAID,),
        completion_type=(CompletionType.VIDEO,),
        host=("x",),
        completion=(0, 100),
    )
    nothing = Subject(
        course_member(course_title=None, team_names=None, coworker_kind=None), None, None
    )
    found = checked(every, nothing)
    assert {one.saw for one in found} == {None}
    assert not any(one.holds for one in found)
    assert all(
        one.holds and isinstance(one, CheckedCondition)
        for one in checked(Where(excluded=every), nothing)
    )
