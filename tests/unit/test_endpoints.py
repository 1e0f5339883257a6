"""The endpoints setting, and which rules post to them: what is accepted, and each mistake."""

import pytest

from schemas.actions import KindForm, audience_of, channel_of, endpoint_of, event_key_of
from schemas.endpoints import Endpoint, Personal, Shape, load_endpoints
from schemas.errors import ConfigurationError
from schemas.reasons import Reason
from schemas.rules import Rules, load_rules
from schemas.settings import describe, load_settings
from workers.actions.registry import kinds_for_rules
from workers.retries import outage_wait_s

SECRET, OLD = "whsec_" + "QUJD" * 8, "whsec_" + "WFla" * 8
TOKEN = "T0SECRETTOKEN"
TWO = f"""team-chat:
  url: https://hooks.slack.com/services/{TOKEN}
  shape: slack
  include: name
crm:
  url: https://crm.example.org:8443/in?key={TOKEN}
  secrets: [{SECRET}, {OLD}]
"""


def loaded(text: str) -> tuple[Endpoint, ...]:
    return load_endpoints(text, "endpoints.yaml")


def mistakes_of(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        loaded(text)
    return caught.value.mistakes


def test_endpoints_are_loaded_with_what_each_may_learn() -> None:
    chat, crm = loaded(TWO)
    assert (chat.name, chat.shape, chat.include) == (
        "team-chat",
        Shape.SLACK,
        frozenset({Personal.NAME}),
    )
    assert (crm.shape, crm.secrets, crm.include) == (Shape.STANDARD, (SECRET, OLD), frozenset())
    assert crm.host == "crm.example.org"


def test_no_address_or_secret_is_shown() -> None:
    for text in map(repr, loaded(TWO)):
        assert TOKEN not in text
        assert SECRET not in text


URL = "endpoints.yaml:2:8: a.url: expected "
HTTPS, PORT = "an address such as https://example.org/hooks", "the port 443, or one from 1024"


@pytest.mark.parametrize(
    ("url", "mistake"),
    [
        ("ftp://example.org/x", HTTPS),
        ("example.org/x", HTTPS),
        ("https:///x", HTTPS),
        ("https://[::1/x", HTTPS),
        ("https://example.org:99999/x", HTTPS),
        ("http://example.org/x", "https://; http:// is for this machine only"),
        (f"https://ana:{TOKEN}@example.org/x", "an address without a login, # or a backslash"),
        ("https://@example.org/x", "an address without a login, # or a backslash"),
        ("https://example.org\\@evil.example/x", "an address without a login, # or a backslash"),
        ("https://bücher.example/x", "ASCII characters without spaces, at most 2000; write the"),
        ("https://example.org/a b", "ASCII characters without spaces, at most 2000; write the"),
        ("https://example.org:25/x", PORT),
        ("https://example.org:0/x", PORT),
    ],
)
def test_an_address_that_must_not_be_posted_to_is_refused(url: str, mistake: str) -> None:
    text = url.replace("\\", "\\\\")
    [said] = mistakes_of(f'a:\n  url: "{text}"\n  shape: slack\n')
    assert said.startswith(f"{URL}{mistake}")
    assert TOKEN not in said
    assert "example" not in said.replace(HTTPS, "")


@pytest.mark.parametrize(
    ("text", "mistakes"),
    [
        ("- a", ["1:1: file: expected names of endpoints, each with its keys"]),
        ("A_B: {url: x}", ["1:6: A_B: expected 1 to 40 of a-z, 0-9 and - as the name of an"]),
        ("a: https://x.example", ["1:4: a: expected url, shape, secrets or include with values"]),
        (
            "a:\n  url: https://x.example\n  secret: b",
            [
                "2:3: a: the key secrets is missing; expected whsec_ and 24 to 64 random bytes",
                "3:11: a.secret: there is no such key; did you mean secrets?",
            ],
        ),
        (
            f"a:\n  url: https://x.example\n  secrets: {SECRET}\n  shape: teams",
            ["3:12: a.secrets: expected none with the shape teams"],
        ),
        (
            "a:\n  url: https://x.example\n  secrets: whsec_c2hvcnQ=\n  include: [phone]",
            [
                "3:12: a.secrets: expected whsec_ and 24 to 64 random bytes in base64",
                "4:12: a.include: expected name or email, or a list of both",
            ],
        ),
        ("a:\n  shape: discord", ["2:3: a: the key url is missing", "2:10: a.shape: expected"]),
        ("a: {url: https://x.example, shape: slack}\na: {}", ["2:1: a: this key is repeated"]),
    ],
)
def test_every_mistake_has_its_line(text: str, mistakes: list[str]) -> None:
    for said, mistake in zip(mistakes_of(text), mistakes, strict=True):
        assert said.startswith(f"endpoints.yaml:{mistake}")


def test_networks_are_networks_and_are_shown() -> None:
    settings = load_settings({"COURSEBELL_ENDPOINT_NETWORKS": "10.1.0.0/16, ::1"})
    shown = {line.name: line.value for line in describe(settings, {})}
    assert shown["COURSEBELL_ENDPOINT_NETWORKS"] == "10.1.0.0/16, ::1/128"
    with pytest.raises(ConfigurationError, match=r"expected networks such as 10\.20\.0\.0/16"):
        load_settings({"COURSEBELL_ENDPOINT_NETWORKS": "10.0.0.1/8"})


HEAD = "version: 1\ntiming: {quiet_hours: 20:00-08:00}\nrules:\n"
POSTS = HEAD + "  - {name: tell, event: enrolled, action: webhook"


def load(text: str, endpoints: set[str] | None = None) -> Rules:
    kinds = {**kinds_for_rules(), "diary": KindForm()}
    return load_rules(text, "rules.yaml", actions=kinds, endpoints=endpoints)


def test_a_rule_posts_to_endpoints_at_any_time_unless_it_says_otherwise() -> None:
    [rule] = load(POSTS + ", endpoint: [team-chat, crm]}\n").rules
    assert rule.audiences == ("endpoint:team-chat", "endpoint:crm")
    limits = rule.timing
    assert (limits.quiet_hours, limits.cap_per_day, limits.cap_per_week, limits.send) == (None,) * 4
    assert limits.flood is not None
    [late] = load(POSTS + ", endpoint: crm, quiet_hours: 22:00-06:00, cap_per_day: 1}\n").rules
    assert late.timing.quiet_hours is not None
    assert late.timing.cap_per_day == 1


def test_the_timing_of_a_course_leaves_what_is_posted_alone() -> None:
    text = POSTS + ", endpoint: crm}\ncourses: [{course: '7', quiet_hours: 10:00-22:00}]\n"
    [rule] = load(text).rules
    assert load(text).for_course(rule, 7, None).timing.quiet_hours is None


@pytest.mark.parametrize(
    ("rest", "mistake"),
    [
        ("}", "endpoint: this key is missing; the action webhook needs it"),
        (
            ", endpoint: crmm}",
            "endpoint: there is no endpoint crmm in COURSEBELL_ENDPOINTS; expect",
        ),
        (
            ", endpoint: a@b.example}",
            "endpoint: expected the name of an endpoint in COURSEBELL_END",
        ),
        (", endpoint: crm, to: host}", "to: expected member; the action webhook reaches no others"),
        (", endpoint: crm, template: notice}", "template: the action webhook has no templates"),
    ],
)
def test_a_mistake_in_where_a_rule_posts_has_its_place(rest: str, mistake: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(POSTS + rest, {"crm"})
    [said] = caught.value.mistakes
    assert said.startswith("rules.yaml:4:")
    assert f"rules[0].{mistake}" in said


def test_another_action_takes_no_endpoint() -> None:
    with pytest.raises(ConfigurationError, match="the action diary has no such key"):
        load(HEAD + "  - {name: a, event: enrolled, action: diary, endpoint: crm}\n")


def test_without_endpoints_a_rule_that_posts_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="COURSEBELL_ENDPOINTS, which has none"):
        load(POSTS + ", endpoint: crm}\n", set())


def test_an_endpoint_is_its_own_audience_and_channel() -> None:
    assert audience_of("endpoint:crm") == "endpoint:crm"
    assert (endpoint_of("endpoint:crm"), endpoint_of(None), endpoint_of("host")) == (
        "crm",
        None,
        None,
    )
    assert channel_of("webhook", "endpoint:crm") == "webhook:crm"
    assert channel_of("email", "host") == "email"
    assert event_key_of("tell/enrolled:7:9/to-endpoint:crm/step-1") == "enrolled:7:9"


def test_an_endpoint_that_asks_for_a_wait_gets_it_up_to_an_hour() -> None:
    assert outage_wait_s(Reason.DELIVERY_BUSY, 1) == 30
    assert outage_wait_s(Reason.DELIVERY_BUSY, 1, asked_s=120) == 120
    assert outage_wait_s(Reason.DELIVERY_BUSY, 1, asked_s=86_400) == 3_600
    assert outage_wait_s(Reason.DELIVERY_BUSY, 9, asked_s=5) == 900
