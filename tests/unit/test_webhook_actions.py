"""The actions of webhooks, as the source names them."""

from schemas.records import ACTION_NAMES, action_name, course_actions


def test_an_action_is_named_as_the_source_names_it() -> None:
    assert len(ACTION_NAMES) == 90
    assert action_name(1) == "None"
    assert action_name(45) == "HelDeskMessageCreated"
    assert action_name(46) == "HelpDeskCommentCreated"
    assert action_name(90) == "CoworkerPaymentMethodUpdate"


def test_an_action_added_since_is_named_by_its_number() -> None:
    assert [action_name(number) for number in (0, -1, 91)] == ["action 0", "action -1", "action 91"]


def test_no_known_action_is_about_courses() -> None:
    assert course_actions(ACTION_NAMES) == []


def test_an_action_about_courses_is_recognised() -> None:
    names = ["CourseMemberCreate", "TeamCreated", "OnLESSONDone", "MemberEnrolled", "Enrolment"]
    assert course_actions(names) == [
        "CourseMemberCreate",
        "OnLESSONDone",
        "MemberEnrolled",
        "Enrolment",
    ]
