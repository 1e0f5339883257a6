"""The settings: what is accepted, what is refused in which words, and what is never shown."""

import traceback
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from schemas.actions import Mode
from schemas.errors import ConfigurationError
from schemas.settings import (
    PREFIX,
    SETTINGS,
    Listen,
    MailAddress,
    SendingRate,
    Settings,
    SmtpServer,
    TlsMode,
    describe,
    load_settings,
    weak_secrets,
)

NAMES = [doc.name for doc in SETTINGS]
MARKER = "hunter2hunter2"


def one(short_name: str, text: str) -> Settings:
    return load_settings({PREFIX + short_name: text})


def mistakes_of(environ: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ)
    return caught.value.mistakes


def error_of(environ: dict[str, str]) -> ConfigurationError | None:
    try:
        load_settings(environ)
    except ConfigurationError as error:
        return error
    return None


def test_the_table_the_schema_and_the_settings_name_the_same_things_in_the_same_order() -> None:
    assert [doc.attribute for doc in SETTINGS] == [field.name for field in fields(Settings)]


def test_every_setting_has_the_prefix_and_one_sentence() -> None:
    for doc in SETTINGS:
        assert doc.name.startswith(PREFIX)
        assert doc.sentence.endswith(".")
        assert "\n" not in doc.sentence


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    assert load_settings({}) == Settings(
        data_dir="./var",
        database_url="sqlite:///./var/coursebell.db",
        broker_url=None,
        nexudus_url="https://spaces.nexudus.com",
        nexudus_username=None,
        nexudus_password=None,
        nexudus_totp=None,
        nexudus_client_id=None,
        hook_secrets=(),
        relay_tokens=(),
        ses_topic=None,
        postmark_secret=None,
        mailgun_signing_key=None,
        sendgrid_public_key=None,
        brevo_secret=None,
        smtp=None,
        smtp_oauth_token_url=None,
        smtp_oauth_client_id=None,
        smtp_oauth_client_secret=None,
        smtp_oauth_refresh_token=None,
        smtp_oauth_scope=None,
        mail_from=None,
        mail_reply_to=None,
        mail_rate=None,
        dkim_selector=None,
        dkim_domain=None,
        dkim_key=None,
        mail_signs_as_host=False,
        mail_reads_replies=False,
        operator_email=(),
        space_name=None,
        space_logo=None,
        space_colour="#0E6655",
        space_address=None,
        wording=None,
        rules=None,
        endpoints=None,
        endpoint_networks=(),
        public_url="http://127.0.0.1:8000",
        listen=Listen("127.0.0.1", 8000),
        oidc_issuer=None,
        oidc_client_id=None,
        oidc_client_secret=None,
        oidc_name=None,
        passwords=True,
        mode=Mode.OBSERVE,
        check_every_s=300,
        hooks_reenable=False,
        lesson_url=None,
        course_url=None,
        secret_key=None,
        nexudus_limits="10/second;120/minute;5000/hour;200000/day",
        zone="UTC",
        language="en",
        lease_s=60,
        workers=2,
    )


def test_an_empty_or_blank_text_is_the_same_as_none() -> None:
    assert load_settings(dict.fromkeys(NAMES, "")) == load_settings({})
    assert one("MODE", "  ") == load_settings({})


def test_other_programs_settings_are_ignored() -> None:
    assert load_settings({"PATH": "/bin", "COURSEBEL_MODE": "x", "MODE": "x"}) == load_settings({})


def test_a_blank_around_a_value_is_dropped_but_kept_in_a_password() -> None:
    assert one("MODE", " sending ").mode is Mode.SENDING
    assert one("NEXUDUS_PASSWORD", " s ").nexudus_password == " s "


AN_ARN = "expected an ARN such as arn:aws:sns:eu-west-1:123456789012:emails"
HEADER_ONLY = "expected ASCII characters without spaces: it is sent in a header"


@pytest.mark.parametrize(
    ("name", "text", "attribute", "expected"),
    [
        ("DATA_DIR", "/srv/courses/", "data_dir", "/srv/courses"),
        ("DATA_DIR", "/srv/courses", "database_url", "sqlite:////srv/courses/coursebell.db"),
        ("DATABASE_URL", "sqlite:////srv/a.db", "database_url", "sqlite:////srv/a.db"),
        ("DATABASE_URL", "postgres://u:p@h:5/n", "database_url", "postgresql+psycopg://u:p@h:5/n"),
        ("DATABASE_URL", "postgresql://h/n", "database_url", "postgresql+psycopg://h/n"),
        ("DATABASE_URL", "postgresql+psycopg://h/n", "database_url", "postgresql+psycopg://h/n"),
        (
            "DATABASE_URL",
            "postgresql:///n?host=/run/pg",
            "database_url",
            "postgresql+psycopg:///n?host=/run/pg",
        ),
        (
            "BROKER_URL",
            "redis://:pw@127.0.0.1:6379/0",
            "broker_url",
            "redis://:pw@127.0.0.1:6379/0",
        ),
        (
            "DATABASE_URL",
            "postgresql://h/n?user=me@x&password=p@ss",
            "database_url",
            "postgresql+psycopg://h/n?user=me@x&password=p@ss",
        ),
        (
            "NEXUDUS_URL",
            "https://proxy.example.org/n",
            "nexudus_url",
            "https://proxy.example.org/n",
        ),
        ("LESSON_URL", "https://h/#/@{lesson_id}", "lesson_url", "https://h/#/@{lesson_id}"),
        ("BROKER_URL", "rediss://h:6380", "broker_url", "rediss://h:6380"),
        ("BROKER_URL", "redis+socket:///run/r.sock", "broker_url", "redis+socket:///run/r.sock"),
        ("NEXUDUS_URL", "https://n.example.org/", "nexudus_url", "https://n.example.org"),
        ("NEXUDUS_URL", "http://127.0.0.1:9000", "nexudus_url", "http://127.0.0.1:9000"),
        ("NEXUDUS_URL", "http://localhost:9000/", "nexudus_url", "http://localhost:9000"),
        ("NEXUDUS_URL", "http://[::1]:9000", "nexudus_url", "http://[::1]:9000"),
        ("NEXUDUS_TOTP", " jbsw y3dp ehpk 3pxp ", "nexudus_totp", "JBSWY3DPEHPK3PXP"),
        ("NEXUDUS_TOTP", "JBSWY3DPEHPK3PXPGEZA====", "nexudus_totp", "JBSWY3DPEHPK3PXPGEZA"),
        ("HOOK_SECRETS", "newest-one, ,older-one,", "hook_secrets", ("newest-one", "older-one")),
        ("HOOK_SECRETS", "repeated1,repeated1", "hook_secrets", ("repeated1",)),
        ("RELAY_TOKENS", "12345678", "relay_tokens", ("12345678",)),
        (
            *("SES_TOPIC", "arn:aws-cn:sns:cn-north-1:123456789012:a", "ses_topic"),
            "arn:aws-cn:sns:cn-north-1:123456789012:a",
        ),
        (
            *(
                "SENDGRID_PUBLIC_KEY",
                "-----BEGIN PUBLIC KEY----- AA AA -----END PUBLIC KEY-----",
            ),
            *("sendgrid_public_key", "AAAA"),
        ),
        ("POSTMARK_SECRET", "with,comma:@", "postmark_secret", "with,comma:@"),
        ("RULES", "/etc/courses/rules.yaml", "rules", "/etc/courses/rules.yaml"),
        ("PUBLIC_URL", "https://bell.example.org/x/", "public_url", "https://bell.example.org/x"),
        ("LISTEN", "0.0.0.0:80", "listen", Listen("0.0.0.0", 80)),  # noqa: S104 - nothing listens
        ("LISTEN", "[::1]:8000", "listen", Listen("::1", 8000)),
        ("MODE", "sending", "mode", Mode.SENDING),
        ("CHECK_EVERY_S", "0", "check_every_s", 0),
        ("HOOKS_REENABLE", "true", "hooks_reenable", True),
        ("HOOKS_REENABLE", "False", "hooks_reenable", False),
        (
            "LESSON_URL",
            "https://p.example.org/{course_id}/{lesson_id}?u={lesson_unique_id}",
            "lesson_url",
            "https://p.example.org/{course_id}/{lesson_id}?u={lesson_unique_id}",
        ),
        ("COURSE_URL", "https://p.example.org/c", "course_url", "https://p.example.org/c"),
        ("NEXUDUS_LIMITS", "1/second", "nexudus_limits", "1/second"),
        ("ZONE", "Europe/London", "zone", "Europe/London"),
        ("LANGUAGE", "PT", "language", "pt"),
        ("LANGUAGE", "no", "language", "no"),
        ("LEASE_S", "3600", "lease_s", 3600),
        ("WORKERS", "64", "workers", 64),
    ],
)
def test_a_good_text_becomes_a_typed_value(
    name: str, text: str, attribute: str, expected: object
) -> None:
    assert getattr(one(name, text), attribute) == expected


@pytest.mark.parametrize(
    ("name", "text", "attribute", "expected"),
    [
        ("MODE", "'sending'", "mode", Mode.SENDING),
        ("MODE", ' "sending" ', "mode", Mode.SENDING),
        ("MODE", "''", "mode", Mode.OBSERVE),
        (
            "MAIL_FROM",
            '"O\'Brien Works <a@example.org>"',
            "mail_from",
            MailAddress("O'Brien Works", "a@example.org"),
        ),
        ("MAIL_FROM", '"Rita" <a@example.org>', "mail_from", MailAddress("Rita", "a@example.org")),
        ("NEXUDUS_PASSWORD", "'p$a;s#s '", "nexudus_password", "p$a;s#s "),
        ("NEXUDUS_PASSWORD", "'half", "nexudus_password", "'half"),
        ("NEXUDUS_PASSWORD", "'", "nexudus_password", "'"),
        # A password that has quotes of its own is given a second pair.
        ("NEXUDUS_PASSWORD", "\"'quoted'\"", "nexudus_password", "'quoted'"),
    ],
)
def test_quotes_around_a_whole_value_are_removed_once(
    name: str, text: str, attribute: str, expected: object
) -> None:
    assert getattr(one(name, text), attribute) == expected


@pytest.mark.parametrize("text", ["'it'\\''s'", "'a','b'", '"a$b"', '"a\\"b"', '"`a`"', '"a\\b"'])
def test_quotes_that_a_shell_reads_as_something_else_are_refused(text: str) -> None:
    (mistake,) = mistakes_of({"COURSEBELL_NEXUDUS_PASSWORD": text})
    assert mistake.startswith("COURSEBELL_NEXUDUS_PASSWORD: arrived with quotes around it")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://h", SmtpServer("h", 587, None, None, TlsMode.STARTTLS)),
        (
            "smtp://me@example.org:p@h",
            SmtpServer("h", 587, "me@example.org", "p", TlsMode.STARTTLS),
        ),
        ("smtps://h", SmtpServer("h", 465, None, None, TlsMode.IMPLICIT)),
        ("smtp://h?tls=implicit", SmtpServer("h", 465, None, None, TlsMode.IMPLICIT)),
        ("smtp://h:25?tls=none", SmtpServer("h", 25, None, None, TlsMode.NONE)),
        ("smtp://u:p@127.0.0.1:25?tls=none", SmtpServer("127.0.0.1", 25, "u", "p", TlsMode.NONE)),
        ("smtp://[::1]:1025/?tls=none", SmtpServer("::1", 1025, None, None, TlsMode.NONE)),
        (
            "smtp://me%40example.org:p%3A%2F%C3%A9@mail.example.org:2525?tls=starttls",
            SmtpServer("mail.example.org", 2525, "me@example.org", "p:/é", TlsMode.STARTTLS),
        ),
    ],
)
def test_a_mail_server_is_read_from_its_address(url: str, expected: SmtpServer) -> None:
    assert one("SMTP_URL", url).smtp == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rita@example.org", MailAddress("", "rita@example.org")),
        ("<rita@example.org>", MailAddress("", "rita@example.org")),
        (
            "Rita, Harbour Works <rita@example.org>",
            MailAddress("Rita, Harbour Works", "rita@example.org"),
        ),
        ('"Rita \\"R\\", Ltd" <r@example.org>', MailAddress('Rita "R", Ltd', "r@example.org")),
        ("Zoë 🎓 <zoe+courses@example.org>", MailAddress("Zoë 🎓", "zoe+courses@example.org")),
        ("kurse@straße.example", MailAddress("", "kurse@xn--strae-oqa.example")),
    ],
)
def test_a_sender_needs_no_quotes(text: str, expected: MailAddress) -> None:
    assert one("MAIL_FROM", text).mail_from == expected
    assert one("MAIL_REPLY_TO", text).mail_reply_to == expected


WHOLE = (
    "expected a whole address with a host, at most one numeric port from 1 to 65535,"
    " and special characters in user and password percent-encoded"
)
ENCODE = (
    "expected special characters in user and password percent-encoded: # is %23, @ is %40,"
    " / is %2F, ? is %3F, : is %3A, [ is %5B, % is %25"
)
NEXUDUS = "https://spaces.nexudus.com"
NO_PATH = f"expected an address without a path, such as {NEXUDUS}; Coursebell adds /api itself"
NO_WEBSITE = (
    f"expected {NEXUDUS}, the address of the API for every space; this is the address of a website"
)
SENDER = "expected an address, as in Harbour Works <courses@example.org>"
LOGIN = "expected both a user and a password, or neither"
RATE = "expected none, or emails in a time such as 30/1m, 500/1h or 2000/1d"
ESCAPED = "expected # and ? and @ in user and password percent-encoded"
UNKNOWN_OPTION = (
    "the option {} is unknown; remove it (known: db, virtual_host, visibility_timeout, family)"
)
UNNAMED_OPTION = (
    "expected no options after the ? other than db, virtual_host, visibility_timeout or family"
)
BROKER = (
    "expected a broker that several processes can reach, which memory:// is not;"
    " leave it unset and `coursebell up` starts one"
)
ONE_LINE = "expected one line of text without control characters"
LISTEN = "expected host:port, such as 127.0.0.1:8000 or [::1]:8000"
LIMITS = "expected limits such as 10/second;120/minute;5000/hour;200000/day"
ZONE = "expected an IANA time zone, such as Europe/London"
LANGUAGE = "expected en, es, pt, fr, de, it, he, ar, ja, nl, no, pl or sv"
KEY = "expected the key of an authenticator app: 16 or more of A to Z and 2 to 7"
WEB = "expected an address that begins with https:// or http://"
NO_LOGIN = "expected an address without a login, ? or #"
SMTP = "expected smtp://user:password@host:587?tls=starttls, or smtps://"
TLS = "expected only tls=none, starttls or implicit after ?"
DATABASE = "expected sqlite:///file or postgresql://user:password@host/name"
IN_MEMORY = "expected a file: a ledger in memory would be lost with the process"


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("DATA_DIR", "a?b", "expected a folder without ? in its name"),
        ("DATABASE_URL", "mysql://h/n", DATABASE),
        ("DATABASE_URL", "coursebell.db", DATABASE),
        ("DATABASE_URL", "sqlite://coursebell.db", DATABASE),
        ("DATABASE_URL", "sqlite://", DATABASE),
        ("DATABASE_URL", "sqlite:///:memory:", IN_MEMORY),
        ("DATABASE_URL", "sqlite:///", IN_MEMORY),
        ("DATABASE_URL", "postgresql://", WHOLE),
        ("DATABASE_URL", "postgresql://u:p/w@h/n", ENCODE),
        ("DATABASE_URL", "postgresql://u:p@w@h/n", ENCODE),
        ("DATABASE_URL", "postgresql://u:12#w@h/n", ENCODE),
        (
            "BROKER_URL",
            "memory://",
            BROKER,
        ),
        ("BROKER_URL", "amqp://h", "expected redis://, rediss:// or redis+socket://"),
        ("BROKER_URL", "redis://", WHOLE),
        ("BROKER_URL", "redis://h:0", WHOLE),
        ("BROKER_URL", "redis://:p?w@h", ENCODE),
        ("BROKER_URL", "redis://h/0?pasword=x", UNKNOWN_OPTION.format("pasword")),
        ("BROKER_URL", "redis://h/0?socket_timeout=5", UNKNOWN_OPTION.format("socket_timeout")),
        (
            "BROKER_URL",
            "redis://h/0?ssl_cert_reqs=none",
            "the option ssl_cert_reqs needs rediss://; remove it",
        ),
        (
            "BROKER_URL",
            "redis+socket:///s?family=0",
            UNKNOWN_OPTION.format("family").replace(", family", ""),
        ),
        ("BROKER_URL", "redis://h?family=6", "expected family=0, which is both IPv4 and IPv6"),
        ("BROKER_URL", "redis://h?db=1&db=1", "expected db once"),
        ("BROKER_URL", "redis://h?db", "expected name=value after the ?"),
        ("BROKER_URL", "redis://h?Pa%20ss=1", UNNAMED_OPTION),
        ("BROKER_URL", "redis://h/queue", "expected the number of a database, such as /0"),
        (
            "BROKER_URL",
            "redis://h/1?db=2",
            "expected one database: after the host, as db or as virtual_host",
        ),
        (
            "BROKER_URL",
            "redis://pw@h/1",
            "expected a password after the user, as in redis://:password@host",
        ),
        ("BROKER_URL", "redis://u:123?se=x@h", ESCAPED),
        ("BROKER_URL", "redis://u:123#x@h", ENCODE),
        ("BROKER_URL", "redis://h#x", ESCAPED),
        (
            "BROKER_URL",
            "redis://:%ff@h",
            "expected percent-encoded UTF-8 in user, password and path",
        ),
        (
            "BROKER_URL",
            "redis+socket://run/redis.sock",
            "expected redis+socket:///path/to/socket, with three slashes",
        ),
        (
            "BROKER_URL",
            "rediss://h?ssl_cert_reqs=maybe",
            "expected ssl_cert_reqs=required, optional or none",
        ),
        (
            "BROKER_URL",
            "rediss://h?ssl_check_hostname=maybe",
            "expected ssl_check_hostname=true or false",
        ),
        ("BROKER_URL", "rediss://h?ssl_keyfile=k", "expected ssl_certfile beside ssl_keyfile"),
        (
            "BROKER_URL",
            "redis://h?visibility_timeout=300",
            "expected visibility_timeout from 301 to 86400",
        ),
        (
            "BROKER_URL",
            "redis://h?visibility_timeout=1h",
            "expected visibility_timeout in whole seconds",
        ),
        (
            "NEXUDUS_URL",
            "http://spaces.nexudus.com",
            "expected https://, because the password is sent there",
        ),
        ("NEXUDUS_URL", "spaces.nexudus.com", f"expected https:// in front, as in {NEXUDUS}"),
        ("NEXUDUS_URL", "https://spaces.nexudus.com/api", NO_PATH),
        ("NEXUDUS_URL", "https://spaces.nexudus.com/x/", NO_PATH),
        ("NEXUDUS_URL", "https://proxy.example.org/API/", NO_PATH),
        ("NEXUDUS_URL", "https://harbour.spaces.nexudus.com", NO_WEBSITE),
        ("NEXUDUS_URL", "https://Harbour.Spaces.Nexudus.com/en/login", NO_WEBSITE),
        ("NEXUDUS_URL", "https://nexudus.com", NO_WEBSITE),
        ("NEXUDUS_URL", "ftp://h", WEB),
        ("NEXUDUS_URL", "https://u:p@h", NO_LOGIN),
        ("NEXUDUS_URL", "https://h?x", NO_LOGIN),
        ("NEXUDUS_PASSWORD", "two\nlines", ONE_LINE),
        ("NEXUDUS_TOTP", "123456", KEY),
        ("NEXUDUS_TOTP", "JBSWY3DPEHPK3PX1", KEY),
        ("NEXUDUS_TOTP", "JBSWY3DPEHPK3PXPA", KEY),
        ("NEXUDUS_TOTP", "otpauth://totp/x?secret=JBSWY3DPEHPK3PXP", KEY),
        ("NEXUDUS_TOTP", "\N{FULLWIDTH LATIN CAPITAL LETTER A}" * 16, KEY),
        ("HOOK_SECRETS", "long-enough,short", "expected at least 8 characters"),
        (
            "HOOK_SECRETS",
            "sécret-sécret",
            "expected ASCII characters only: Nexudus loses all others",
        ),
        ("RELAY_TOKENS", "1234567", "expected at least 8 characters"),
        ("POSTMARK_SECRET", "1234567", "expected at least 8 characters"),
        ("BREVO_SECRET", "12345678 9", HEADER_ONLY),
        ("SES_TOPIC", "arn:aws:sns:eu-west-1:1:a", AN_ARN),
        ("SES_TOPIC", "arn:aws:sns:evil.example/-1:123456789012:a", AN_ARN),
        ("SENDGRID_PUBLIC_KEY", "é", "expected a public key in base64"),
        ("SENDGRID_PUBLIC_KEY", "A" * 4_000, "expected a public key in base64"),
        (
            "RELAY_TOKENS",
            "1234 5678",
            "expected ASCII characters without spaces: tokens are sent in a header",
        ),
        ("SMTP_URL", "mail.example.org:587", SMTP),
        ("SMTP_URL", "smtp://u:p#w@h", ENCODE),
        ("SMTP_URL", "smtp://u:p[w@h", ENCODE),
        ("SMTP_URL", "http://h", SMTP),
        ("SMTP_URL", "smtp://h/path", SMTP),
        ("SMTP_URL", "smtp://h?tls=ssl", TLS),
        ("SMTP_URL", "smtp://h?timeout=5", TLS),
        ("SMTP_URL", "smtp://h?mode=none", TLS),
        ("SMTP_URL", "smtp://h?tls=none&tls=starttls", TLS),
        ("SMTP_URL", "smtps://h?tls=none", "expected tls=implicit, or no tls=, with smtps://"),
        ("SMTP_URL", "smtp://u:p@h:99999", WHOLE),
        ("SMTP_URL", "smtp://u:@h", LOGIN),
        (
            "SMTP_URL",
            "smtp://u@h",
            f"{LOGIN}, unless COURSEBELL_SMTP_OAUTH_TOKEN_URL is set",
        ),
        ("SMTP_URL", "smtp://u:p%0D%0Ax@h", LOGIN),
        ("SMTP_URL", "smtp://u:p%FF@h", "expected percent-encoded UTF-8 in user and password"),
        (
            "SMTP_URL",
            "smtp://u:p@h?tls=none",
            "expected tls=starttls or tls=implicit, because a login is sent",
        ),
        ("MAIL_FROM", "Rita", SENDER),
        ("MAIL_FROM", "Rita <rita@example.org", SENDER),
        ("MAIL_FROM", "a@b.org, c@d.org", SENDER),
        ("MAIL_FROM", "a..b@example.org", SENDER),
        ("MAIL_FROM", "=?utf-8?q?x?= <a@example.org>", SENDER),
        ("MAIL_FROM", "Rita\r\nBcc: x <a@example.org>", ONE_LINE),
        ("MAIL_FROM", "x" * 65 + "@example.org", SENDER),
        ("MAIL_FROM", "x@" + "example." * 31 + "example", SENDER),
        ("MAIL_FROM", "a b@example.org", SENDER),
        ("MAIL_REPLY_TO", "a@", SENDER),
        *(("MAIL_RATE", rate, RATE) for rate in ("30", "0/1m", "30/m", "-1/1m", "30/1w", "3e3/1m")),
        ("MAIL_REPLY_TO", "zoë@example.org", "expected only ASCII characters before the @"),
        ("PUBLIC_URL", "//h", WEB),
        (
            "PUBLIC_URL",
            "localhost:8000",
            "expected https:// in front, as in https://coursebell.example.org",
        ),
        ("PUBLIC_URL", "https://h/#x", NO_LOGIN),
        ("LISTEN", "8000", LISTEN),
        ("LISTEN", ":8000", LISTEN),
        ("LISTEN", "127.0.0.1", LISTEN),
        ("LISTEN", "127.0.0.1:0", LISTEN),
        ("LISTEN", "::1:8000", LISTEN),
        ("LISTEN", "h:80/x", LISTEN),
        ("MODE", "on", "expected observe or sending"),
        ("HOOKS_REENABLE", "yes", "expected true or false"),
        ("CHECK_EVERY_S", "-1", "expected a whole number from 0 to 86400"),
        ("CHECK_EVERY_S", "5m", "expected a whole number from 0 to 86400"),
        ("CHECK_EVERY_S", "\u0661", "expected a whole number from 0 to 86400"),
        (
            "LESSON_URL",
            "https://h/{lesson}",
            "expected no placeholders other than {course_id}, {lesson_id} or {lesson_unique_id}",
        ),
        (
            "LESSON_URL",
            "https://h/{}",
            "expected no placeholders other than {course_id}, {lesson_id} or {lesson_unique_id}",
        ),
        (
            "LESSON_URL",
            "https://h/{lesson_id!r}",
            "expected no placeholders other than {course_id}, {lesson_id} or {lesson_unique_id}",
        ),
        ("LESSON_URL", "https://h/{lesson_id", "expected a } for every {"),
        ("LESSON_URL", "javascript://h/", WEB),
        ("COURSE_URL", "https://h/{lesson_id}", "expected no placeholders other than {course_id}"),
        ("SECRET_KEY", "short", "expected at least 8 characters"),
        ("NEXUDUS_LIMITS", "10 per second", LIMITS),
        ("NEXUDUS_LIMITS", "10/second;", LIMITS),
        ("NEXUDUS_LIMITS", "0/second", LIMITS),
        ("LANGUAGE", "pt-BR", LANGUAGE),
        ("LANGUAGE", "Spanish", LANGUAGE),
        ("LANGUAGE", "zh", LANGUAGE),
        ("ZONE", "Europe/Nowhere", ZONE),
        ("ZONE", "Europe", ZONE),
        ("ZONE", "../../etc/passwd", ZONE),
        ("LEASE_S", "0", "expected a whole number from 1 to 3600"),
        ("WORKERS", "65", "expected a whole number from 1 to 64"),
    ],
)
def test_a_bad_text_is_refused_with_what_was_expected(name: str, text: str, sentence: str) -> None:
    assert mistakes_of({PREFIX + name: text}) == [f"{PREFIX}{name}: {sentence}"]


def test_all_mistakes_are_reported_together_in_the_order_of_the_table() -> None:
    assert mistakes_of(
        {
            "COURSEBELL_WORKERS": "many",
            "COURSEBELL_MOOD": "sending",
            "COURSEBELL_MODE": "on",
            "COURSEBELL_DATABASE_URL": "x",
        }
    ) == [
        f"COURSEBELL_DATABASE_URL: {DATABASE}",
        "COURSEBELL_MODE: expected observe or sending",
        "COURSEBELL_WORKERS: expected a whole number from 1 to 64",
        "COURSEBELL_MOOD: there is no such setting; did you mean COURSEBELL_MODE?",
    ]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "COURSEBELL_NEXUDUS_USER",
            "there is no such setting; did you mean COURSEBELL_NEXUDUS_USERNAME?",
        ),
        ("COURSEBELL_DATA", "there is no such setting; did you mean COURSEBELL_DATA_DIR?"),
        ("COURSEBELL_SMPT_URL", "there is no such setting; did you mean COURSEBELL_SMTP_URL?"),
        (
            "COURSEBELL_SMPT_URL_FILE",
            "there is no such setting; did you mean COURSEBELL_SMTP_URL_FILE?",
        ),
        ("COURSEBELL_", "there is no such setting"),
        (
            "COURSEBELL_SMTP_URL_FILE",
            "the caller must read this file first; this is a fault of Coursebell",
        ),
    ],
)
def test_an_unknown_name_is_a_mistake_unless_it_is_empty(name: str, sentence: str) -> None:
    assert mistakes_of({name: "x"}) == [f"{name}: {sentence}"]
    assert load_settings({name: ""}) == load_settings({})


BROKEN = [
    "{}",
    "\x00{}",
    "{}\n",
    "é{}",
    "x://u:{}@h",
    "smtp://u:{}/@h",
    "smtp://h:{}",
    "smtp://u:{}@h?tls={}",
    "redis://u:{}[@h",
    "postgres://u:{}/#@h",
    "https://u:{}@h",
    "https://h/{{{}}}",
    "{} <{}>",
    "[{}",
]


@pytest.mark.parametrize("form", BROKEN)
def test_a_value_is_never_repeated_in_a_mistake(form: str) -> None:
    for name in NAMES:
        error = error_of({name: form.replace("{}", MARKER)})
        if error is not None:
            assert MARKER not in "".join(traceback.format_exception(error)), name


KEY_MARKER = "JBSWY3DPEHPK3PXP"
SECRET_ENVIRON = {
    "COURSEBELL_DATABASE_URL": f"postgresql://u:{MARKER}@h:5432/n",
    "COURSEBELL_BROKER_URL": f"redis://:{MARKER}@h:6379/0",
    "COURSEBELL_NEXUDUS_PASSWORD": MARKER,
    "COURSEBELL_NEXUDUS_TOTP": KEY_MARKER,
    "COURSEBELL_HOOK_SECRETS": f"{MARKER},{MARKER}older",
    "COURSEBELL_RELAY_TOKENS": MARKER,
    "COURSEBELL_SMTP_URL": f"smtp://me%40example.org:{MARKER}@[::1]:25",
    "COURSEBELL_SECRET_KEY": MARKER,
}


def test_no_secret_is_in_the_repr_of_settings() -> None:
    printed = repr(load_settings(SECRET_ENVIRON))
    assert MARKER not in printed
    assert KEY_MARKER not in printed


def test_settings_are_described_without_their_secrets() -> None:
    environ = {
        **SECRET_ENVIRON,
        "COURSEBELL_MAIL_FROM": "Rita <r@example.org>",
        "COURSEBELL_LISTEN": "[::1]:80",
        "COURSEBELL_LEASE_S": "",
    }
    lines = {
        line.name: (line.value, line.origin) for line in describe(load_settings(environ), environ)
    }
    assert list(lines) == NAMES
    assert MARKER not in str(lines)
    assert KEY_MARKER not in str(lines)
    assert lines["COURSEBELL_DATABASE_URL"] == (
        "postgresql+psycopg://u:***@h:5432/n",
        "environment",
    )
    assert lines["COURSEBELL_BROKER_URL"][0] == "redis://:***@h:6379/0"
    assert lines["COURSEBELL_NEXUDUS_PASSWORD"][0] == "set, 14 characters"
    assert lines["COURSEBELL_HOOK_SECRETS"][0] == "2 set, 14 and 19 characters"
    assert lines["COURSEBELL_RELAY_TOKENS"][0] == "set, 14 characters"
    assert lines["COURSEBELL_SMTP_URL"][0] == "smtp://me%40example.org:***@[::1]:25?tls=starttls"
    assert lines["COURSEBELL_MAIL_FROM"][0] == "Rita <r@example.org>"
    assert lines["COURSEBELL_LISTEN"][0] == "[::1]:80"
    assert lines["COURSEBELL_MODE"] == ("observe", "default")
    assert lines["COURSEBELL_LEASE_S"] == ("60", "default")
    assert lines["COURSEBELL_RULES"] == ("unset", "default")


def test_secrets_of_fewer_than_16_characters_are_named_without_their_value() -> None:
    environ = {
        "COURSEBELL_HOOK_SECRETS": f"{'x' * 16},hush-hush",
        "COURSEBELL_RELAY_TOKENS": "hush-hush-hush1",
        "COURSEBELL_SECRET_KEY": "x" * 16,
        "COURSEBELL_NEXUDUS_PASSWORD": "hush-hush",
    }
    settings = load_settings(environ)
    assert [(one.setting, one.found) for one in weak_secrets(settings)] == [
        ("COURSEBELL_HOOK_SECRETS", "1 of 2 has fewer than 16 characters"),
        ("COURSEBELL_RELAY_TOKENS", "it has fewer than 16 characters"),
    ]
    warnings = {line.name: line.warning for line in describe(settings, environ) if line.warning}
    assert list(warnings) == ["COURSEBELL_HOOK_SECRETS", "COURSEBELL_RELAY_TOKENS"]
    assert "hush" not in str(warnings)
    assert weak_secrets(load_settings({})) == []
    weak_key = load_settings({"COURSEBELL_SECRET_KEY": "hush-hush"})
    assert [one.setting for one in weak_secrets(weak_key)] == ["COURSEBELL_SECRET_KEY"]


def test_a_password_in_a_query_is_hidden_too() -> None:
    environ = {
        "COURSEBELL_DATABASE_URL": f"postgresql://h/n?user=u&password={MARKER}&sslmode=require"
    }
    lines = describe(load_settings(environ), environ)
    assert lines[1].value == "postgresql+psycopg://h/n?user=u&password=***&sslmode=require"


def test_removed_quotes_are_marked_and_empty_quotes_are_unset() -> None:
    environ = {"COURSEBELL_MODE": "'sending'", "COURSEBELL_ZONE": "''", "COURSEBELL_WORKERS": "3"}
    lines = {
        line.name: (line.value, line.origin, line.unquoted)
        for line in describe(load_settings(environ), environ)
    }
    assert lines["COURSEBELL_MODE"] == ("sending", "environment", True)
    assert lines["COURSEBELL_ZONE"] == ("UTC", "default", False)
    assert lines["COURSEBELL_WORKERS"] == ("3", "environment", False)


def test_a_setting_from_a_file_is_described_as_such() -> None:
    origins = {
        line.name: line.origin
        for line in describe(load_settings({}), {"COURSEBELL_MODE_FILE": "/run/secrets/mode"})
    }
    assert origins["COURSEBELL_MODE"] == "file"
    assert origins["COURSEBELL_LISTEN"] == "default"


@examples(deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from(NAMES) | st.text().map(PREFIX.__add__), st.text()))
def test_any_environment_gives_settings_or_mistakes(environ: dict[str, str]) -> None:
    error = error_of(environ)
    if error is None:
        describe(load_settings(environ), environ)
    else:
        assert error.mistakes
        assert all(one.startswith(PREFIX) and one.isascii() for one in error.mistakes)


ADDRESS = st.from_regex(r"(smtps?|redis|postgres|https?|sqlite)://[ -~]{0,40}", fullmatch=True)


@examples(deadline=None, max_examples=300)
@given(st.sampled_from([name for name in NAMES if name.endswith(("URL", "LISTEN"))]), ADDRESS)
def test_any_address_gives_settings_or_one_mistake(name: str, text: str) -> None:
    error = error_of({name: text})
    if error is None:
        describe(load_settings({name: text}), {name: text})
    else:
        assert len(error.mistakes) == 1


@pytest.mark.parametrize(
    ("text", "expected", "shown"),
    [
        ("30/1m", SendingRate(30, 60), "30/1m"),
        ("500/60m", SendingRate(500, 3_600), "500/1h"),
        ("999999/999d", SendingRate(999_999, 999 * 86_400), "999999/999d"),
        ("1/90s", SendingRate(1, 90), "1/90s"),
        ("none", None, "unset"),
    ],
)
def test_a_rate_is_emails_in_a_time(text: str, expected: SendingRate | None, shown: str) -> None:
    settings = one("MAIL_RATE", text)
    assert settings.mail_rate == expected
    lines = {line.name: line.value for line in describe(settings, {})}
    assert lines["COURSEBELL_MAIL_RATE"] == shown


def test_a_sender_may_be_in_any_script() -> None:
    settings = load_settings({"COURSEBELL_MAIL_FROM": "Rita <ritá@b\u00fccher.example>"})
    assert settings.mail_from == MailAddress("Rita", "ritá@xn--bcher-kva.example")
