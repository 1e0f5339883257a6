"""Every setting there is, in one literal table: name, default, secret or not, what it is for.

The loader, the tests, the example environment, the docs and `config show` all read this table.
"""

from dataclasses import dataclass

PREFIX = "COURSEBELL_"  # every setting begins with it, and nothing else may


@dataclass(frozen=True, slots=True)
class SettingDoc:
    """One setting. `default` is what it is when unset, as one would write it, or None.

    Without `read` it is accepted and checked, and this version does nothing with it yet.
    """

    name: str
    default: str | None
    secret: bool
    sentence: str
    read: bool = True


SETTINGS: tuple[SettingDoc, ...] = (
    SettingDoc(
        "COURSEBELL_DATA_DIR",
        "./var",
        secret=False,
        sentence="The folder for what Coursebell keeps on this machine.",
    ),
    SettingDoc(
        "COURSEBELL_DATABASE_URL",
        None,
        secret=False,
        sentence="Where the ledger is, as sqlite:///file or postgresql://user:password@host/name;"
        " unset, it is the SQLite file coursebell.db in the data folder.",
    ),
    SettingDoc(
        "COURSEBELL_BROKER_URL",
        None,
        secret=False,
        sentence="The broker that wakes workers, as redis://, rediss:// or redis+socket://;"
        " unset, `coursebell up` starts one of its own.",
    ),
    SettingDoc(
        "COURSEBELL_NEXUDUS_URL",
        "https://spaces.nexudus.com",
        secret=False,
        sentence="The address of the Nexudus REST API.",
    ),
    SettingDoc(
        "COURSEBELL_NEXUDUS_USERNAME",
        None,
        secret=False,
        sentence="The email of the Nexudus user we read as; it needs API access.",
    ),
    SettingDoc(
        "COURSEBELL_NEXUDUS_PASSWORD",
        None,
        secret=True,
        sentence="The password of that Nexudus user.",
    ),
    SettingDoc(
        "COURSEBELL_NEXUDUS_TOTP",
        None,
        secret=True,
        sentence="The key of that user's authenticator app, if there is a second factor;"
        " unset, `coursebell login` asks for a code.",
    ),
    SettingDoc(
        "COURSEBELL_NEXUDUS_CLIENT_ID",
        None,
        secret=False,
        sentence="What this installation calls itself when it signs in; unset, it is generated once"
        " and kept in the ledger.",
    ),
    SettingDoc(
        "COURSEBELL_HOOK_SECRETS",
        None,
        secret=True,
        sentence="The shared secrets of Nexudus webhooks, newest first, separated by commas;"
        " unset, the webhook addresses answer 401.",
    ),
    SettingDoc(
        "COURSEBELL_RELAY_TOKENS",
        None,
        secret=True,
        sentence="The bearer tokens a relay may use, newest first, separated by commas;"
        " unset, the relay address answers 401.",
    ),
    SettingDoc(
        "COURSEBELL_SMTP_URL",
        None,
        secret=False,
        sentence="The mail server, as smtp://user:password@host:587?tls=starttls"
        " (tls: none, starttls or implicit); unset, no email can leave.",
    ),
    SettingDoc(
        "COURSEBELL_MAIL_FROM",
        None,
        secret=False,
        sentence="Who emails come from, as Harbour Works <courses@example.org>.",
    ),
    SettingDoc(
        "COURSEBELL_MAIL_REPLY_TO",
        None,
        secret=False,
        sentence="Where answers to emails go, if not to the sender.",
    ),
    SettingDoc(
        "COURSEBELL_RULES",
        None,
        secret=False,
        sentence="The rules file; unset, it is the one shipped with Coursebell.",
    ),
    SettingDoc(
        "COURSEBELL_PUBLIC_URL",
        "http://127.0.0.1:8000",
        secret=False,
        sentence="The address under which Nexudus, members and operators reach this service;"
        " `coursebell doctor` finds our webhooks by it.",
    ),
    SettingDoc(
        "COURSEBELL_LISTEN",
        "127.0.0.1:8000",
        secret=False,
        sentence="The host and port the web process listens on, such as 127.0.0.1:8000,"
        " [::1]:8000 or localhost:8000; 0.0.0.0:8000 is every network interface.",
    ),
    SettingDoc(
        "COURSEBELL_MODE",
        "observe",
        secret=False,
        sentence="The mode of a new ledger, observe or sending; afterwards"
        " `coursebell mode` decides.",
    ),
    SettingDoc(
        "COURSEBELL_CHECK_EVERY_S",
        "300",
        secret=False,
        sentence="How many seconds lie between our own checks of Nexudus; 0 switches them off.",
    ),
    SettingDoc(
        "COURSEBELL_HOOKS_REENABLE",
        "false",
        secret=False,
        sentence="Whether a webhook that calls us and that Nexudus switched off is switched on"
        " again, true or false; its alarm is raised, and what was missed is asked for, either way.",
    ),
    SettingDoc(
        "COURSEBELL_LESSON_URL",
        None,
        secret=False,
        sentence="The address of a lesson in the members' portal, with {course_id}, {lesson_id}"
        " or {lesson_unique_id} where they belong.",
    ),
    SettingDoc(
        "COURSEBELL_COURSE_URL",
        None,
        secret=False,
        sentence="The address of a course in the members' portal, with {course_id}"
        " where it belongs.",
    ),
    SettingDoc(
        "COURSEBELL_SECRET_KEY",
        None,
        secret=True,
        sentence="What links and sign-ins are signed with; unset, it is generated once"
        " into the data folder.",
    ),
    SettingDoc(
        "COURSEBELL_NEXUDUS_LIMITS",
        "10/second;120/minute;5000/hour;200000/day",
        secret=False,
        sentence="How many requests Nexudus may get from all workers together.",
    ),
    SettingDoc(
        "COURSEBELL_ZONE",
        "UTC",
        secret=False,
        sentence="The time zone for quiet hours when a person's own is not known,"
        " such as Europe/London.",
    ),
    SettingDoc(
        "COURSEBELL_LEASE_S",
        "60",
        secret=False,
        sentence="How many seconds a worker may hold a piece of work before another takes it over;"
        " the same on every machine.",
    ),
    SettingDoc(
        "COURSEBELL_WORKERS",
        "2",
        secret=False,
        sentence="How many worker children run on this machine.",
    ),
)
