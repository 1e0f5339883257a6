"""The table of all settings: name, parser, default and description of each.

The loader, the tests, the example environment, the docs and `config show` all use `SETTINGS`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from schemas.actions import Mode
from schemas.settings import addresses, credentials, mail, values
from schemas.settings.addresses import Listen, Network
from schemas.settings.mail import MailAddress, SendingRate, SmtpServer

Parsed = TypeVar("Parsed")

PREFIX = "COURSEBELL_"  # all settings begin with it; any other name that does is refused
_A_DAY_S = 86_400
_AN_HOUR_S = 3_600
_MOST_WORKERS = 64


@dataclass(frozen=True, slots=True)
class SettingDoc:
    """One setting. `default` is the value when unset, as written in the environment, or None.

    `attribute` is its name in `Settings`; `unset` is its value there if it has neither value nor
    default.
    """

    name: str
    default: str | None
    secret: bool
    sentence: str
    attribute: str
    parse: Callable[[str], Any]
    unset: object
    many_lines: bool = False


def setting(  # noqa: PLR0913 - all there is to say of a setting
    parse: Callable[[str], Parsed],
    sentence: str,
    *,
    default: str | None = None,
    name: str | None = None,
    secret: bool = False,
    private: bool = False,
    unset: object = None,
    many_lines: bool = False,
) -> Parsed:
    """Declare a setting. `private` and `secret` values are left out of `repr`."""
    stated = {"parse": parse, "sentence": sentence, "default": default, "secret": secret}
    named: dict[str, object] = {"name": name} if name else {}
    named |= {"many_lines": True} if many_lines else {}
    declared: Parsed = field(
        repr=not (secret or private), metadata={**stated, **named, "unset": unset}
    )
    return declared


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, typed. None is unset; each setting's sentence says what that means."""

    data_dir: str = setting(
        values.folder,
        "The folder for the files that Coursebell keeps on this machine.",
        default="./var",
    )
    database_url: str = setting(
        addresses.database_url,
        "The ledger's address, as sqlite:///file or postgresql://user:password@host/name; if"
        " unset, the SQLite file coursebell.db in the data folder.",
        private=True,
    )
    broker_url: str | None = setting(
        addresses.broker_url,
        "The broker that wakes workers, as redis://, rediss:// or redis+socket://; if unset,"
        " `coursebell up` starts its own.",
        private=True,
    )
    nexudus_url: str = setting(
        addresses.nexudus_url,
        "The address of the Nexudus REST API.",
        default="https://spaces.nexudus.com",
    )
    nexudus_username: str | None = setting(
        values.plain,
        "The email address of the Nexudus user that Coursebell signs in as; it needs API access.",
        private=True,
    )
    nexudus_password: str | None = setting(
        values.plain, "The password of that Nexudus user.", secret=True
    )
    nexudus_totp: str | None = setting(
        values.authenticator_key,
        "The key of that user's authenticator app, if it has a second factor; if unset,"
        " `coursebell login` asks for a code.",
        secret=True,
    )
    nexudus_client_id: str | None = setting(
        values.plain,
        "The name that this installation signs in with; if unset, it is generated once and kept"
        " in the ledger.",
    )
    hook_secrets: tuple[str, ...] = setting(
        values.hook_secrets,
        "The shared secrets of Nexudus webhooks, newest first, separated by commas; if unset, the"
        " webhook routes answer 401.",
        unset=(),
        secret=True,
    )
    relay_tokens: tuple[str, ...] = setting(
        values.relay_tokens,
        "The bearer tokens a relay may use, newest first, separated by commas; if unset, the"
        " relay route answers 401.",
        unset=(),
        secret=True,
    )
    ses_topic: str | None = setting(
        credentials.sns_topic,
        "The ARN of the SNS topic to which Amazon SES publishes what became of emails; if unset,"
        " the route for its reports answers 401.",
    )
    postmark_secret: str | None = setting(
        credentials.header_secret,
        "The password with which Postmark reports what became of emails; if unset, the route for"
        " its reports answers 401.",
        secret=True,
    )
    mailgun_signing_key: str | None = setting(
        values.secret,
        "The HTTP webhook signing key of Mailgun; if unset, the route for its reports answers 401.",
        secret=True,
    )
    sendgrid_public_key: str | None = setting(
        credentials.public_key,
        "The verification key of SendGrid's signed Event Webhook; if unset, the route for its"
        " reports answers 401.",
    )
    brevo_secret: str | None = setting(
        credentials.header_secret,
        "The password or token with which Brevo reports what became of emails; if unset, the"
        " route for its reports answers 401.",
        secret=True,
    )
    smtp: SmtpServer | None = setting(
        mail.smtp_server,
        "The mail server, as smtp://user:password@host:587?tls=starttls (tls: none, starttls or"
        " implicit); if unset, no email can be sent.",
        name="COURSEBELL_SMTP_URL",
    )
    smtp_oauth_token_url: str | None = setting(
        mail.token_address,
        "Where access tokens for the mail server come from, such as"
        " https://oauth2.googleapis.com/token; then COURSEBELL_SMTP_URL has a user, no password.",
    )
    smtp_oauth_client_id: str | None = setting(
        values.plain, "The client id that access tokens for the mail server are requested with."
    )
    smtp_oauth_client_secret: str | None = setting(
        values.plain, "The secret of that client.", secret=True
    )
    smtp_oauth_refresh_token: str | None = setting(
        values.plain,
        "The refresh token of the mailbox; if unset, the client requests access tokens of its own"
        " (client credentials).",
        secret=True,
    )
    smtp_oauth_scope: str | None = setting(
        values.plain,
        "The scope of access tokens, such as https://outlook.office365.com/.default; if unset, none"
        " is requested.",
    )
    mail_from: MailAddress | None = setting(
        mail.mail_address, "The sender of emails, as Harbour Works <courses@example.org>."
    )
    mail_reply_to: MailAddress | None = setting(
        mail.reply_address, "Where replies to emails go, if not to the sender."
    )
    mail_rate: SendingRate | None = setting(
        mail.mail_rate,
        "How many emails may go at a time, such as 30/1m or 500/1h, for all workers together; more"
        " wait their turn. none: no limit.",
        default="none",
    )
    dkim_selector: str | None = setting(
        mail.dkim_selector,
        "The selector of the DNS record with the public key that emails are signed with (DKIM); if"
        " unset, the mail server signs them, or nobody does.",
    )
    dkim_domain: str | None = setting(
        mail.dkim_domain,
        "The domain that emails are signed for, if not that of the sender: one above it.",
    )
    dkim_key: str | None = setting(
        mail.pem_key,
        "The private key that emails are signed with, in PEM form: RSA of 2048 bits or more, or"
        " Ed25519.",
        secret=True,
        many_lines=True,
    )
    mail_signs_as_host: bool = setting(
        values.flag,
        "Whether emails are signed by the host of the course as well, true or false; ask the hosts"
        " first.",
        default="false",
    )
    mail_reads_replies: bool = setting(
        values.flag,
        "Whether emails invite the member to reply, true or false; only if a person reads replies.",
        default="false",
    )
    operator_email: tuple[str, ...] = setting(
        mail.mail_addresses,
        "The addresses, separated by commas, that get alerts when something needs you; if unset,"
        " nobody gets them.",
        unset=(),
        private=True,
    )
    space_name: str | None = setting(
        values.plain, "The name of the space in emails, if not the one that Nexudus has."
    )
    space_logo: str | None = setting(
        addresses.web_address,
        "The address of the space's logo, shown 40 pixels high at the top of emails; best with a"
        " transparent background.",
    )
    space_colour: str = setting(
        values.colour,
        "The colour of buttons in emails, as #RRGGBB; one on which white text cannot be read is"
        " made darker.",
        default="#0E6655",
    )
    space_address: str | None = setting(
        values.postal_address, "The postal address at the end of emails, on one line."
    )
    wording: str | None = setting(
        values.plain, "The path of the wording file, with the space's own words in emails."
    )
    rules: str | None = setting(
        values.plain, "The path of the rules file; if unset, the one shipped with Coursebell."
    )
    endpoints: str | None = setting(
        values.path_of_endpoints,
        "The path of the file of endpoints that rules may post to; it holds secrets, so only"
        " Coursebell should be able to read it.",
        many_lines=True,
    )
    endpoint_networks: tuple[Network, ...] = setting(
        values.networks,
        "Private networks and addresses that endpoints may be in, separated by commas; if unset,"
        " only public addresses are posted to.",
        unset=(),
    )
    public_url: str = setting(
        addresses.web_address,
        "The address at which Nexudus, members and operators reach this service; `coursebell"
        " doctor` finds our webhooks by it.",
        default="http://127.0.0.1:8000",
    )
    listen: Listen = setting(
        addresses.listen,
        "The host and port the web process listens on, such as 127.0.0.1:8000, [::1]:8000 or"
        " localhost:8000; 0.0.0.0:8000 is every network interface.",
        default="127.0.0.1:8000",
    )
    oidc_issuer: str | None = setting(
        addresses.issuer,
        "The OpenID Connect provider at which operators may sign in to the pages, such as"
        " https://accounts.google.com; if unset, they sign in with passwords only.",
    )
    oidc_client_id: str | None = setting(
        values.plain, "The client id that this service has at that provider."
    )
    oidc_client_secret: str | None = setting(
        values.plain,
        "The secret of that client; unset only if the provider gave none (a public client).",
        secret=True,
    )
    oidc_name: str | None = setting(
        values.plain,
        "What the button to sign in at that provider calls it, such as Google; if unset, its host.",
    )
    passwords: bool = setting(
        values.flag,
        "Whether operators may sign in to the pages with a password, true or false; false needs"
        " COURSEBELL_OIDC_ISSUER.",
        default="true",
    )
    mode: Mode = setting(
        values.mode,
        "The mode of a new ledger, observe or sending; afterwards `coursebell mode` decides.",
        default="observe",
    )
    check_every_s: int = setting(
        values.whole_number(0, _A_DAY_S),
        "Seconds between polls of Nexudus; 0 turns polling off.",
        default="300",
    )
    hooks_reenable: bool = setting(
        values.flag,
        "Whether to switch a webhook that calls us on again after Nexudus switched it off, true"
        " or false; either way the alarm is raised and what was missed is requested.",
        default="false",
    )
    lesson_url: str | None = setting(
        addresses.portal_pattern("course_id", "lesson_id", "lesson_unique_id"),
        "The address of a lesson in the members' portal, with {course_id}, {lesson_id} or"
        " {lesson_unique_id} where they belong.",
    )
    course_url: str | None = setting(
        addresses.portal_pattern("course_id"),
        "The address of a course in the members' portal, with {course_id} where it belongs.",
    )
    secret_key: str | None = setting(
        values.secret,
        "The key that signs links and sign-ins; if unset, it is generated once in the data folder.",
        secret=True,
    )
    nexudus_limits: str = setting(
        values.limits,
        "How many requests all workers together may make to Nexudus.",
        default="10/second;120/minute;5000/hour;200000/day",
    )
    zone: str = setting(
        values.zone,
        "The time zone for quiet hours where a member's own is not known, such as Europe/London.",
        default="UTC",
    )
    language: str = setting(
        values.language,
        "The language of emails if neither the member's own nor that of the course's location is"
        " one of these: en, es, pt, fr, de, it, he, ar, ja, nl, no, pl, sv.",
        default="en",
    )
    lease_s: int = setting(
        values.whole_number(1, _AN_HOUR_S),
        "Seconds a worker may hold a piece of work before another takes it over; the same on"
        " every machine.",
        default="60",
    )
    workers: int = setting(
        values.whole_number(1, _MOST_WORKERS),
        "How many worker children run on this machine, plus one for polling and other upkeep.",
        default="2",
    )


def _doc(name: str, declared: dict[str, Any]) -> SettingDoc:
    return SettingDoc(**{"name": PREFIX + name.upper(), "attribute": name, **declared})


SETTINGS = tuple(_doc(one.name, dict(one.metadata)) for one in fields(Settings))
