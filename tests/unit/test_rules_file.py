"""The rules file: the shipped one, what is understood, and every mistake with its place."""

import hashlib
import re
from datetime import time
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from marshmallow import ValidationError

from schemas.actions import KindForm
from schemas.entity import CompletionType, CoworkerKind, Visibility
from schemas.errors import ConfigurationError
from schemas.events import EventKind
from schemas.rules import (
    Flood,
    QuietHours,
    Rule,
    Rules,
    Stream,
    Timing,
    Where,
    load_rules,
)
from schemas.rules.values import OneOrMany, choice, member_of, or_none, parse_cap
from schemas.strict_yaml import MAX_FILE_BYTES

SHIPPED = Path(__file__).parents[2] / "rules.yaml"
TEMPLATES = {
    "welcome": {EventKind.ENROLLED},
    "lesson-finished": {EventKind.LESSON_COMPLETED},
    "course-finished": {EventKind.COURSE_COMPLETED},
}
ACTIONS = {"email": KindForm(TEMPLATES), "webhook": KindForm()}
PLACED = re.compile(r"rules\.yaml:[1-9]\d*:[1-9]\d*: [^ ].*: .+")
HEAD = "version: 1\nrules:\n"
RULE = HEAD + "  - name: a\n    event: lesson_completed\n    action: webhook\n"  # 5 lines

DURATION = "expected a duration such as 30s, 30m, 3h or 7d, at most 366d"
KEYS = "expected keys with values; remove the line if there are none"
NO_KEY = "there is no such key"
CAP = "expected a whole number from 1 to 999999, or none"
BRAKE = "expected a number from 1x to 100x, such as 2x or 1.5x, or none"
FLOOD = "expected a number per duration such as 25/10m, or none"
ONLY_LESSON = "expected only with the event lesson_completed"
ONE_LINE = "expected one line of text without control characters"


def load(text: str) -> Rules:
    return load_rules(text, "rules.yaml", actions=ACTIONS)


def mistakes_of(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(text)
    return caught.value.mistakes


def the_rule(more: str) -> Rule:
    return load(f"{base_for(more)}    {more}\n").rules[0]


def base_for(more: str) -> str:
    """Return a rule that `more` can be added to: only an email has templates."""
    return RULE.replace("webhook", "email") if more.startswith("template") else RULE


def test_the_shipped_file_has_three_rules_that_are_on() -> None:
    rules = load(SHIPPED.read_text("utf-8"))
    assert [
        (rule.name, rule.event, rule.action, rule.template, rule.enabled) for rule in rules.rules
    ] == [
        ("welcome", EventKind.ENROLLED, "email", "welcome", True),
        ("congratulate-lesson", EventKind.LESSON_COMPLETED, "email", "lesson-finished", True),
        ("congratulate-course", EventKind.COURSE_COMPLETED, "email", "course-finished", True),
    ]
    lesson = rules.by_name("congratulate-lesson")
    assert lesson is not None
    assert (lesson.gather_s, lesson.gather_at_most_s) == (1_800, 10_800)


def test_the_example_in_the_shipped_files_comments_is_a_good_rule() -> None:
    text = SHIPPED.read_text("utf-8")
    _, _, example = text.partition("#   - name: congratulate-founders")
    example, _, _ = example.partition("#\n# What differs for some courses")
    lines = ["#   - name: congratulate-founders", *example.splitlines()[1:]]
    rule = load(HEAD + "\n".join(line.removeprefix("# ") for line in lines)).rules[0]
    assert rule.delay_s == 3_600
    assert rule.timing.quiet_hours is None
    assert rule.where.location == ("77", "Harbour Works")
    assert rule.where.coworker_type == (CoworkerKind.INDIVIDUAL,)
    assert rule.where.excluded == Where(team=("Team Green",))


def test_a_file_without_timing_and_completion_has_those_of_the_shipped_file() -> None:
    rules = load(RULE)
    shipped = load(SHIPPED.read_text("utf-8"))
    assert rules.rules[0].timing == shipped.rules[0].timing == Timing()
    assert rules.counts == shipped.counts
    assert Timing() == Timing(QuietHours(time(20), time(8)), 2, 4, 172_800, Flood(25, 600))
    assert rules.counts == {CompletionType.VISITED, CompletionType.BUTTON, CompletionType.VIDEO}


def test_a_minimal_rule_gets_the_defaults() -> None:
    assert load(RULE).rules == (
        Rule(
            name="a",
            event=EventKind.LESSON_COMPLETED,
            action="webhook",
            template=None,
            stream=Stream.SERVICE,
            delay_s=0,
            gather_s=None,
            gather_at_most_s=None,
            timing=Timing(),
            where=Where(),
            enabled=True,
        ),
    )


def test_a_rule_may_override_some_of_the_files_timing() -> None:
    text = "timing: {cap_per_day: 9, cap_per_week: none, stale_after: 1h}\n" + RULE
    timing = load(f"{text}    cap_per_day: none\n    flood: none\n").rules[0].timing
    assert timing == Timing(
        quiet_hours=Timing().quiet_hours,
        cap_per_day=None,
        cap_per_week=None,
        stale_after_s=3_600,
        flood=None,
    )


REMINDER = "{name: a, event: stalled, action: webhook}"
REMINDING = "{name: a, event: stalled, action: webhook, count_nexudus: true}"
SERVICE = "{name: a, event: enrolled, action: webhook, count_nexudus: true}"
QUIET = "{name: a, event: stalled, action: webhook, count_nexudus: false}"
OFF = "{name: a, event: stalled, action: webhook, count_nexudus: true, enabled: false}"
IN_TIMING = "timing: {count_nexudus: true}"
IN_A_COURSE = "courses: [{course: 7, count_nexudus: true}]"


@pytest.mark.parametrize(
    ("rule", "line", "counts"),
    [
        (REMINDER, "", False),
        (REMINDING, "", True),
        (REMINDER, IN_TIMING, True),
        (REMINDER, IN_A_COURSE, True),
        (QUIET, IN_TIMING, False),
        (QUIET, IN_A_COURSE, False),
        (SERVICE, IN_A_COURSE, False),
        (OFF, IN_TIMING, False),
    ],
)
def test_what_nexudus_sends_counts_where_an_enabled_reminder_says_so(
    rule: str, line: str, *, counts: bool
) -> None:
    assert load(f"{HEAD}  - {rule}\n{line}\n").counts_nexudus() is counts


def test_a_course_and_a_rule_may_say_whether_what_nexudus_sends_counts() -> None:
    rules = load(f"{HEAD}  - {REMINDER}\n{IN_A_COURSE}\n")
    [rule] = rules.rules
    assert not rule.timing.count_nexudus
    assert rules.for_course(rule, 7, None).timing.count_nexudus
    assert not rules.for_course(rule, 8, None).timing.count_nexudus
    assert mistakes_of(f"{HEAD}  - {REMINDER}\ntiming: {{count_nexudus: yes}}\n") == [
        "rules.yaml:4:25: timing.count_nexudus: expected true or false"
    ]


@pytest.mark.parametrize(
    ("more", "attribute", "expected"),
    [
        ("template: lesson-finished", "template", "lesson-finished"),
        ("stream: reminder", "stream", Stream.REMINDER),
        ("delay: 7d", "delay_s", 604_800),
        ("gather: none", "gather_s", None),
        ("gather: 90s", "gather_s", 90),
        ("enabled: false", "enabled", False),
        ("enabled: 'true'", "enabled", True),
        ("where: {}", "where", Where()),
        (
            "where: {course: [1234, Freelance Finance, 1234], group: G, team: [T], location: 7}",
            "where",
            Where(course=("1234", "Freelance Finance"), group=("G",), team=("T",), location=("7",)),
        ),
        (
            "where: {coworker_type: company, visibility: [hidden, paid], completion_type: none}",
            "where",
            Where(
                coworker_type=(CoworkerKind.COMPANY,),
                visibility=(Visibility.HIDDEN, Visibility.PAID),
                completion_type=(CompletionType.NONE,),
            ),
        ),
        # What YAML would make a number, a date or a truth of stays as it was written.
        ("where: {course: [007, 1e3, yes, ~, 2026-01-01]}", "where", None),
    ],
)
def test_a_good_key_becomes_a_typed_value(more: str, attribute: str, expected: object) -> None:
    if expected is None and attribute == "where":
        expected = Where(course=("007", "1e3", "yes", "~", "2026-01-01"))
    assert getattr(the_rule(more), attribute) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20:00-08:00", QuietHours(time(20), time(8))),
        ("00:00-06:30", QuietHours(time(0), time(6, 30))),
        ("12:00-08:00", QuietHours(time(12), time(8))),
        ("20:30-08:00", QuietHours(time(20, 30), time(8))),
        ("08:30-04:30", QuietHours(time(8, 30), time(4, 30))),
        ("13:00-13:01", QuietHours(time(13), time(13, 1))),
    ],
)
def test_quiet_hours_may_go_past_midnight(text: str, expected: QuietHours) -> None:
    assert the_rule(f"quiet_hours: {text}").timing.quiet_hours == expected


@pytest.mark.parametrize(
    "text",
    [
        "20:00-20:00",
        "11:59-08:00",
        "08:30-04:31",
        "8:00-10:00",
        "24:00-08:00",
        "20:00",
        "20:60-21:00",
        "",
    ],
)
def test_other_quiet_hours_are_refused(text: str) -> None:
    (mistake,) = mistakes_of(f"{RULE}    quiet_hours: {text}\n")
    assert mistake.startswith("rules.yaml:6:1")
    assert ": rules[0].quiet_hours: expected " in mistake


def test_a_choice_accepts_only_its_own_words() -> None:
    parse = choice({"yes": 1, "no": 0})
    assert (parse("yes"), parse("no")) == (1, 0)
    with pytest.raises(ValidationError, match="expected yes or no"):
        parse("perhaps")
    assert member_of(Stream)("reminder") is Stream.REMINDER


def test_only_a_key_that_may_be_none_accepts_none() -> None:
    assert or_none(parse_cap)("7") == 7
    assert or_none(parse_cap)("none") is None
    with pytest.raises(ValidationError, match=CAP):
        parse_cap("none")


def test_values_in_a_list_are_typed_each_and_kept_once() -> None:
    field = OneOrMany(parse_cap)
    assert field.deserialize("3") == (3,)
    assert field.deserialize(["3", "1", "3"]) == (3, 1)


@examples(deadline=None)
@given(st.sampled_from([("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)]), st.data())
def test_a_duration_is_read_as_it_is_written(unit: tuple[str, int], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 366 * 86_400 // unit[1]))
    assert the_rule(f"delay: {count}{unit[0]}").delay_s == count * unit[1]


@pytest.mark.parametrize(
    "text",
    ["0s", "-1m", "1", "1.5h", "m", "1 h", "1w", "01m", "367d", "1h30m", "none", "٣m"],
)
def test_other_durations_are_refused(text: str) -> None:
    assert mistakes_of(f"{RULE}    delay: {text}\n") == [
        f"rules.yaml:6:12: rules[0].delay: {DURATION}"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1x", "1"), ("1.5x", "1.5"), ("100x", "100"), ("99.9x", "99.9"), ("none", None)],
)
def test_a_brake_is_a_number_of_times(text: str, expected: str | None) -> None:
    times = None if expected is None else Decimal(expected)
    assert load(f"timing: {{brake: 9x}}\n{RULE}    brake: {text}\n").rules[0].timing.brake == times


def test_the_rules_with_a_brake_are_found_by_name() -> None:
    by_course = "courses: [{course: A, brake: 2x}]\n"
    assert load(RULE).braked() == ()
    assert load("timing: {brake: 2x}\n" + RULE).braked() == ("a",)
    assert load(by_course + RULE).braked() == ("a",)
    assert load(by_course + RULE + "    brake: none\n").braked() == ()
    assert load("timing: {brake: 2x}\n" + RULE + "    enabled: false\n").braked() == ()


def test_only_enabled_rules_are_found_by_event_and_all_by_name() -> None:
    rules = load(RULE + "    enabled: false\n" + RULE.removeprefix(HEAD).replace(": a\n", ": b\n"))
    assert [rule.name for rule in rules.for_event(EventKind.LESSON_COMPLETED)] == ["b"]
    assert rules.for_event(EventKind.ENROLLED) == ()
    assert rules.by_name("a") == rules.rules[0]
    assert rules.by_name("c") is None


def test_a_file_may_have_no_rules() -> None:
    assert load("version: 1\nrules: []").rules == ()


def test_the_digest_is_that_of_the_text() -> None:
    text = RULE + "# Grüße\n"
    assert load(text).digest == hashlib.sha256(text.encode()).hexdigest()[:12]
    assert load(RULE).digest != load(text).digest


IN_RULE = [
    ("gather: 30", "6:13: rules[0].gather: " + DURATION),
    ("gather:", "6:12: rules[0].gather: " + DURATION),
    ("gather: [30m]", "6:13: rules[0].gather: expected a single value"),
    ("gather: {a: b}", "6:13: rules[0].gather: expected a single value"),
    ("gather_at_most: 3h", "6:21: rules[0].gather_at_most: expected only together with gather"),
    (
        "gather: none\n    gather_at_most: 3h",
        "7:21: rules[0].gather_at_most: expected only together with gather",
    ),
    (
        "gather: 3h\n    gather_at_most: 30m",
        "7:21: rules[0].gather_at_most: expected at least as much as gather",
    ),
    (
        "gather: 30m\n    delay: 1h",
        "7:12: rules[0].delay: expected only without gather, which already waits",
    ),
    ("gahter: 30m", f"6:5: rules[0].gahter: {NO_KEY}; did you mean gather?"),
    ("colour: red", f"6:5: rules[0].colour: {NO_KEY}"),
    ('"odd key": x', f"6:5: rules[0].'odd key': {NO_KEY}"),
    ("_schema: x", f"6:5: rules[0]._schema: {NO_KEY}"),
    ("name: b", "6:5: rules[0].name: this key is repeated"),
    (
        "template: farewell",
        "6:15: rules[0].template: expected course-finished, lesson-finished or welcome",
    ),
    ("stream: news", "6:13: rules[0].stream: expected service or reminder"),
    ("enabled: yes", "6:14: rules[0].enabled: expected true or false"),
    ("cap_per_day: 0", "6:18: rules[0].cap_per_day: " + CAP),
    ("cap_per_week: two", "6:19: rules[0].cap_per_week: " + CAP),
    ("flood: 25", "6:12: rules[0].flood: " + FLOOD),
    ("flood: none/10m", "6:12: rules[0].flood: " + FLOOD),
    ("brake: 2", "6:12: rules[0].brake: " + BRAKE),
    ("brake: 0.9x", "6:12: rules[0].brake: " + BRAKE),
    ("brake: 100.1x", "6:12: rules[0].brake: " + BRAKE),
    ("brake: 1.55x", "6:12: rules[0].brake: " + BRAKE),
    ("brake: 02x", "6:12: rules[0].brake: " + BRAKE),
    ("brake: [2x]", "6:12: rules[0].brake: expected a single value"),
    ("stale_after: ~", "6:18: rules[0].stale_after: " + DURATION),
    ("where:", "6:11: rules[0].where: " + KEYS),
    ("where: [a]", "6:12: rules[0].where: " + KEYS),
    ("where: {cuorse: 1}", f"6:13: rules[0].where.cuorse: {NO_KEY}; did you mean course?"),
    (
        "where: {course: []}",
        "6:21: rules[0].where.course: expected one value or a list of values",
    ),
    (
        'where: {course: [a, " ", [b]]}',
        "6:25: rules[0].where.course[1]: expected a value; remove the line if there is none",
        "6:30: rules[0].where.course[2]: expected a single value",
    ),
    (
        "where: {visibility: [public, secret]}",
        "6:34: rules[0].where.visibility[1]: expected public, hidden, private or paid",
    ),
    (
        "where: {coworker_type: 1}",
        "6:28: rules[0].where.coworker_type: expected individual or company",
    ),
    ('where: {course: "a\\nb"}', "6:21: rules[0].where.course: " + ONE_LINE),
    ("template: &t lesson-finished", "6:15: rules[0].template: anchors (&) are not allowed"),
    ("template: *t", "6:15: rules[0].template: expected a value instead of an alias (*)"),
    ("template: !!str lesson-finished", "6:15: rules[0].template: tags (!) are not allowed"),
    ("<<: {enabled: false}", "6:5: rules[0]: merge keys (<<) are not allowed"),
    ("*a : b", "6:5: rules[0]: expected a value instead of an alias (*)"),
    ("? [a]\n    : b", "6:7: rules[0]: expected a plain word as key"),
]


@pytest.mark.parametrize("case", IN_RULE, ids=lambda case: case[0])
def test_a_mistake_in_a_rule_is_reported_with_its_place(case: tuple[str, ...]) -> None:
    more, *expected = case
    text = f"{base_for(more)}    {more}\n"
    assert mistakes_of(text) == [f"rules.yaml:{one}" for one in expected]


WHOLE = [
    ("", "1:1: file: expected rules; the file is empty"),
    ("# only words\n", "1:1: file: expected rules; the file is empty"),
    ("---\n", "2:1: file: " + KEYS),
    ("[]", "1:1: file: " + KEYS),
    ("rules", "1:1: file: " + KEYS),
    (
        "{}",
        "1:1: rules: this key is missing",
        "1:1: version: expected version: 1",
    ),
    ("version: 2\nrules: []", "1:10: version: expected 1"),
    ("version: 1\nrules:\n", "2:7: rules: expected a list"),
    ("version: 1\nrules: {a: b}\n", "2:8: rules: expected a list"),
    ("version: 1\nrules: *x\n", "2:8: rules: expected a value instead of an alias (*)"),
    (
        "version: 1\nrules: [x, *x]\n",
        "2:9: rules[0]: " + KEYS,
        "2:12: rules[1]: expected a value instead of an alias (*)",
    ),
    ("version: 1\nrule: []\nrules: []", f"2:1: rule: {NO_KEY}; did you mean rules?"),
    ("version: 1\non: x\nrules: []", f"2:1: on: {NO_KEY}"),
    ("version: 1\ntiming:\nrules: []", "2:8: timing: " + KEYS),
    (
        "version: 1\ntiming: {cap_per_dya: 1}\nrules: []",
        f"2:10: timing.cap_per_dya: {NO_KEY}; did you mean cap_per_day?",
    ),
    (
        "version: 1\ncompletion: {counts: [button, none], x: 1}\nrules: []",
        "2:31: completion.counts[1]: expected visited, button or video",
        f"2:38: completion.x: {NO_KEY}",
    ),
    ("version: 1\ncompletion: {}\nrules: []", "2:13: completion.counts: this key is missing"),
    (
        HEAD + "  - enabled: true\n",
        "3:5: rules[0].action: this key is missing",
        "3:5: rules[0].event: this key is missing",
        "3:5: rules[0].name: this key is missing",
    ),
    (
        HEAD + "  - {name: A_B, event: graduated, action: emial}\n",
        "3:12: rules[0].name: expected 1 to 60 of a-z, 0-9 and -",
        (
            "3:24: rules[0].event: expected enrolled, enrolment_requested, course_started,"
            " lesson_completed, course_completed, enrolment_approved, enrolment_blocked,"
            " enrolment_unblocked, not_started, stalled or lesson_available"
        ),
        "3:43: rules[0].action: expected email or webhook",
    ),
    (
        HEAD + "  - {name: a, event: enrolled, action: email}\n",
        "3:5: rules[0].template: this key is missing; the action email needs it",
    ),
    (
        HEAD + "  - {name: a, event: enrolled, action: email, template: x}\n",
        "3:57: rules[0].template: expected course-finished, lesson-finished or welcome",
    ),
    (
        HEAD + "  - {name: a, event: enrolled, action: webhook, template: welcome}\n",
        "3:59: rules[0].template: the action webhook has no templates; remove this line",
    ),
    (
        HEAD + "  - {name: a, event: enrolled, action: email, template: lesson-finished}\n",
        "3:57: rules[0].template: it does not fit the event enrolled; expected welcome",
    ),
    (
        HEAD + "  - {name: a, event: enrolled, action: webhook, gather: 1h}\n",
        "3:57: rules[0].gather: " + ONLY_LESSON,
    ),
    (
        HEAD + "  - {name: a, event: enrolled, action: webhook, where: {completion_type: video}}\n",
        "3:74: rules[0].where.completion_type: " + ONLY_LESSON,
    ),
    (
        RULE + RULE.removeprefix(HEAD),
        "6:11: rules[1].name: another rule has this name; give each its own",
    ),
    (
        "a: b\n---\nc: d\n",
        (
            "2:1: file: expected YAML; expected a single document in the stream,"
            " but found another document"
        ),
    ),
    ("[" * 5_000, "1:11: file: expected YAML; it is nested too deeply"),
    ("- " * 5_000, "1:21: file: expected YAML; it is nested too deeply"),
    ("? " * 5_000, "1:21: file: expected YAML; it is nested too deeply"),
    ("a:\n  b: \x00\n", "2:6: file: expected printable characters"),
    ("a: \ud800\n", "1:4: file: expected printable characters"),
    ('a: "\\UFFFFFFFF"', "1:7: file: expected YAML; a number is out of range"),
    ("a" * (MAX_FILE_BYTES + 1), "1:1: file: expected at most 256 KiB"),
    ("é" * (MAX_FILE_BYTES // 2 + 1), "1:1: file: expected at most 256 KiB"),
]


@pytest.mark.parametrize("case", WHOLE, ids=lambda case: ascii(case[0][:60]))
def test_a_mistake_in_the_file_is_reported_with_its_place(case: tuple[str, ...]) -> None:
    text, *expected = case
    assert mistakes_of(text) == [f"rules.yaml:{one}" for one in expected]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: [", "1:5"),
        ("a: b: c", "1:5"),
        ("a:\n\tb: c", "2:1"),
        ("a: 'b", "1:6"),
        ("a: b\n c\nd", "3:2"),
        ("%YAML 2.0\n---\na: b", "1:1"),
        (f"%YAML 1.{'9' * 5_000}\n---\na: b", "1:9"),
        ("a: @b", "1:4"),
    ],
)
def test_broken_yaml_is_reported_with_its_place(text: str, place: str) -> None:
    (mistake,) = mistakes_of(text)
    assert mistake.startswith(f"rules.yaml:{place}: file: expected YAML; ")


def test_all_mistakes_are_reported_together_in_the_order_of_the_file() -> None:
    text = (
        "version: one\n"
        "timing: {quiet_hours: always}\n"
        "rules:\n"
        "  - name: a\n"
        "    event: &e enrolled\n"
        "    action: email\n"
        "    gather: soon\n"
        "  - name: a\n"
        "    event: *e\n"
        "    action: email\n"
        "    template: welcome\n"
        "    template: welcome\n"
    )
    assert mistakes_of(text) == [
        "rules.yaml:1:10: version: expected 1",
        "rules.yaml:2:23: timing.quiet_hours: expected hours such as 20:00-08:00, or none",
        "rules.yaml:4:5: rules[0].template: this key is missing; the action email needs it",
        "rules.yaml:5:12: rules[0].event: anchors (&) are not allowed",
        f"rules.yaml:7:13: rules[0].gather: {DURATION}",
        "rules.yaml:8:11: rules[1].name: another rule has this name; give each its own",
        "rules.yaml:9:12: rules[1].event: expected a value instead of an alias (*)",
        "rules.yaml:12:5: rules[1].template: this key is repeated",
    ]


def test_a_refused_value_is_reported_once() -> None:
    rule = "  - {name: *n, event: enrolled, action: webhook}\n"
    assert mistakes_of(HEAD + rule + rule) == [
        "rules.yaml:3:12: rules[0].name: expected a value instead of an alias (*)",
        "rules.yaml:4:12: rules[1].name: expected a value instead of an alias (*)",
    ]


def told_or_loaded(text: str) -> None:
    try:
        load(text)
    except ConfigurationError as error:
        mistakes = error.mistakes
    else:
        return
    assert mistakes
    for one in mistakes:
        assert PLACED.fullmatch(one), one


@examples(deadline=None, max_examples=300)
@given(st.text())
def test_any_text_gives_rules_or_mistakes(text: str) -> None:
    told_or_loaded(text)


WORDS = (
    "version: 1|timing|rules:|name|event|where|course|gather: 30m|enrolled|none|_schema|"
    "---|...|<<|- |: |&a |*a|!!str |%TAG ! x|%YAML 1.1|\\x00|\\ud800|\\UFFFFFFFF"
)
PIECES = st.sampled_from(
    [
        *WORDS.split("|"),
        *"\n :-[]{},?*&!|>%@`'\"#~\t\\\x85\u2028\ufeff",
        *("\n  ", "\n    ", "\r\n"),
    ]
)


@examples(deadline=None, max_examples=500)
@given(st.lists(PIECES, max_size=30).map("".join), st.sampled_from(["", HEAD, RULE]))
def test_any_pieces_of_yaml_give_rules_or_mistakes(text: str, head: str) -> None:
    told_or_loaded(head + text)


@examples(deadline=None, max_examples=300)
@given(st.data())
def test_the_shipped_file_with_any_hole_or_patch_gives_rules_or_mistakes(
    data: st.DataObject,
) -> None:
    text = SHIPPED.read_text("utf-8")
    start = data.draw(st.integers(0, len(text)))
    length = data.draw(st.integers(0, 40))
    told_or_loaded(text[:start] + data.draw(PIECES | st.text(max_size=5)) + text[start + length :])


@pytest.mark.parametrize(
    ("lines", "mistake"),
    [
        ("courses: [{course: A}, {course: [b, a]}]", "4:37: courses[1].course[1]: this course is"),
        ("courses: [{course: A, off: hallo}]", "4:28: courses[0].off: there is no such rule; did"),
        ("courses: [{course: A, quiet: none}]", "4:23: courses[0].quiet: there is no such key"),
        ("courses: [{off: hello}]", "4:11: courses[0].course: this key is missing"),
        ("timing: {brake: x}", "4:17: timing.brake: expected a number from 1x to 100x"),
        ("courses: [{course: A, brake: -2x}]", "4:30: courses[0].brake: expected a number from 1x"),
        ("timing: {send: 18:00-09:00}", "4:16: timing.send: expected hours of one day such as"),
        ("timing: {send: 09:00-18:00 mon-fry}", "4:16: timing.send: expected days such as mon-fri"),
        ("timing: {holidays: 2026-02-30}", "4:20: timing.holidays: expected a date such as"),
        (
            'timing: {send: "09:00-10:00", quiet_hours: "08:00-11:00"}',
            "4:16: timing.send: this leaves no time to send in",
        ),
        (
            'courses: [{course: A, quiet_hours: "08:00-23:00"}]\ntiming: {send: "09:00-10:00"}',
            "4:36: courses[0].quiet_hours: this leaves no time to send in for hello; the quiet",
        ),
    ],
)
def test_a_mistake_in_what_differs_by_course_or_day_has_its_place(lines: str, mistake: str) -> None:
    text = HEAD + f"  - {{name: hello, event: enrolled, action: webhook}}\n{lines}\n"
    with pytest.raises(ConfigurationError) as raised:
        load_rules(text, "mine.yaml", actions=ACTIONS)
    assert raised.value.mistakes[0].startswith(f"mine.yaml:{mistake}"), raised.value.mistakes


@pytest.mark.parametrize(
    ("keys", "mistake"),
    [
        ("event: enrolled, after: 7d", "after: expected only with the events not_started or"),
        ("event: stalled, stream: service", "stream: expected reminder"),
        ("event: stalled, steps: [1d, 2d]", "steps: expected only with other events; use after"),
        ("event: enrolled, steps: [2d, 1d]", "steps: expected lengths that grow"),
        ("event: enrolled, steps: 1d, delay: 1h", "steps: expected only without gather and delay"),
        ("event: enrolled, until: started", "until: expected only together with steps"),
        ("event: enrolled, steps: [0d, 1x]", "steps[1]: expected a duration such as"),
        ("event: enrolled, where: {completion: 60-50}", "where.completion: expected percent"),
        ("event: enrolled, where: {not: {course: ''}}", "where.not.course: expected a value"),
        ("event: enrolled, where: {not: {curse: A}}", "where.not.curse: there is no such key"),
    ],
)
def test_a_mistake_in_a_sequence_or_condition_says_what_was_expected(
    keys: str, mistake: str
) -> None:
    text = HEAD + f"  - {{name: hello, action: webhook, {keys}}}\n"
    with pytest.raises(ConfigurationError) as raised:
        load_rules(text, "mine.yaml", actions=ACTIONS)
    assert any(f"rules[0].{mistake}" in one for one in raised.value.mistakes), raised.value.mistakes


def test_templates_of_a_sequence_are_as_many_as_its_steps() -> None:
    def load(templates: str) -> Rules:
        rule = (
            f"{{name: a, event: enrolled, action: email, steps: [0d, 3d], template: {templates}}}"
        )
        return load_rules(HEAD + f"  - {rule}\n", "mine.yaml", actions=ACTIONS)

    [one] = load("welcome").rules
    assert [(step.after_s, step.template) for step in one.steps] == [
        (0, "welcome"),
        (259_200, "welcome"),
    ]
    with pytest.raises(ConfigurationError) as raised:
        load("[welcome, welcome, welcome]")
    assert "expected one, or one for each of the 2 steps" in raised.value.mistakes[0]


def certifying(more: str = "", template: str = "course-finished") -> str:
    rule = f"name: a, event: course_completed, action: email, template: {template}"
    return HEAD + f"  - {{{rule}, certificate: true{more}}}\n"


def test_a_rule_about_a_finished_course_may_send_certificates() -> None:
    [rule] = load(certifying()).rules
    assert rule.certificate
    assert load(certifying()).has_certificates()
    assert not load(certifying(", enabled: false")).has_certificates()
    assert not load(SHIPPED.read_text("utf-8")).has_certificates()
    [rule] = load(certifying(", steps: [0d, 3d]")).rules
    assert {step.template for step in rule.steps} == {"course-finished"}


@pytest.mark.parametrize(
    "rule",
    [
        "name: a, event: enrolled, action: email, template: welcome",
        "name: a, event: lesson_completed, action: email, template: lesson-finished",
        "name: a, event: enrolled, action: email, template: course-finished",
        "name: a, event: lesson_completed, action: webhook",
    ],
)
def test_no_other_rule_may_send_certificates(rule: str) -> None:
    said = mistakes_of(HEAD + f"  - {{{rule}, certificate: true}}\n")
    expected = (
        "rules[0].certificate: expected only with the event course_completed and the template "
        "course-finished"
    )
    assert any(one.startswith("rules.yaml:3:") and one.endswith(expected) for one in said)


def test_without_what_makes_certificates_no_rule_may_send_them() -> None:
    why = "they need a package"
    with pytest.raises(ConfigurationError) as raised:
        load_rules(certifying(), "rules.yaml", actions=ACTIONS, no_certificates=why)
    [mistake] = raised.value.mistakes
    assert mistake == f"rules.yaml:3:95: rules[0].certificate: {why}"
    load_rules(SHIPPED.read_text("utf-8"), "rules.yaml", actions=ACTIONS, no_certificates=why)
