"""What a hook may be about, in the source's own words."""

from schemas.hook_actions import HookAction, about_courses, action_name


def test_there_are_ninety_actions_and_no_gap() -> None:
    assert [action.value for action in HookAction] == list(range(1, 91))


def test_an_action_is_named_as_the_source_names_it() -> None:
    assert action_name(1) == "None"
    assert action_name(45) == "HelDeskMessageCreated"
    assert action_name(46) == "HelpDeskCommentCreated"
    assert action_name(90) == "CoworkerPaymentMethodUpdate"


def test_a_number_added_since_is_named_by_itself() -> None:
    assert [action_name(number) for number in (0, -1, 91)] == ["action 0", "action -1", "action 91"]


def test_no_action_of_today_is_about_courses() -> None:
    assert about_courses(map(action_name, HookAction)) == []


def test_an_action_about_courses_would_be_seen() -> None:
    names = ["CourseMemberCreate", "TeamCreated", "OnLESSONDone", "MemberEnrolled", "Enrolment"]
    assert about_courses(names) == [
        "CourseMemberCreate",
        "OnLESSONDone",
        "MemberEnrolled",
        "Enrolment",
    ]
