"""The routes on which mail providers report what became of emails.

An authentic report is stored before it is answered, and workers apply it afterwards. A part that
cannot be read is counted, and the others are stored: a provider would only repeat the whole.
"""

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

import structlog
from flask import Blueprint, Response, request

from ledger.choices import mailbox_hash
from ledger.clock import Clock
from ledger.engine import Engine, writing
from ledger.mail_reports import store_once, store_reports
from schemas.errors import (
    BadSignature,
    ConfigurationError,
    LedgerUnavailable,
    NotVerifiable,
    SourceUnavailable,
    Unreadable,
)
from schemas.mail_providers import ParsedReports, parse_reports
from schemas.mail_reports import MailReport, Provider, ReportKind, read_json
from schemas.reasons import Refusal
from schemas.settings import Settings
from service.hooks import HOOKS, Guard, body_of_request
from service.mail_signatures import (
    AUTHORIZATION,
    check_mailgun,
    check_password,
    check_sendgrid,
    check_sendgrid_head,
    sendgrid_key,
)
from service.sns import CONFIRMATION, NOTIFICATION, confirmation_address, verified_message
from workers.secret_key import checked_secret_key

MAIL = f"{HOOKS}mail/"
# The setting without which the reports of each provider are refused.
_SECRETS: Mapping[Provider, Callable[[Settings], str | None]] = {
    Provider.SES: lambda one: one.ses_topic,
    Provider.POSTMARK: lambda one: one.postmark_secret,
    Provider.MAILGUN: lambda one: one.mailgun_signing_key,
    Provider.SENDGRID: lambda one: one.sendgrid_public_key,
    Provider.BREVO: lambda one: one.brevo_secret,
}
_BY_PASSWORD = frozenset({Provider.POSTMARK, Provider.BREVO})

_log = structlog.get_logger("receiver")


class SnsClient(Protocol):
    """See `workers.sns.SnsRequests`."""

    def certificate(self, address: str) -> bytes:
        """Return the certificate at this address."""

    def confirm(self, address: str) -> None:
        """Confirm a subscription."""


def mail_guards(settings: Settings) -> dict[str, Guard]:
    """Return, by route, a check of the request headers; as `service.hooks.hook_guards`."""

    def guard(provider: Provider, head: Mapping[str, str]) -> None:
        secret = _secret_of(settings, provider)
        if provider in _BY_PASSWORD:
            check_password(head.get(AUTHORIZATION), secret)
        elif provider is Provider.SENDGRID:
            check_sendgrid_head(head)

    return {f"{MAIL}{one}": partial(guard, one) for one in Provider}


def _secret_of(settings: Settings, provider: Provider) -> str:
    secret = _SECRETS[provider](settings)
    if secret is None:
        raise BadSignature(Refusal.MAIL_NO_SECRET)
    return secret


def mail_routes(
    settings: Settings,
    engine: Engine,
    clock: Clock,
    sns: SnsClient,
    after_commit: Callable[[], None],
) -> Blueprint:
    """Return the routes for reports. `after_commit` is called when some were stored.

    Raises:
        ConfigurationError: SendGrid's key cannot be used.
    """
    routes = Blueprint("mail", __name__)
    receiver = _MailReceiver(settings, engine, clock, sns, after_commit)
    for provider in Provider:
        routes.add_url_rule(
            f"{MAIL}{provider}",
            provider,
            partial(receiver.receive, provider),
            methods=["POST"],
        )
    return routes


class _MailReceiver:
    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        clock: Clock,
        sns: SnsClient,
        after_commit: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._clock = clock
        self._sns = sns
        self._after_commit = after_commit
        given = settings.sendgrid_public_key
        self._sendgrid_key = None if given is None else sendgrid_key(given)
        self._key: str | None = None

    def receive(self, provider: Provider) -> Response:
        """Verify, store and answer one request."""
        secret, body = _secret_of(self._settings, provider), body_of_request()
        token = None
        if provider is Provider.SES:
            return self._receive_sns(secret, body)
        if provider is Provider.MAILGUN:
            token = check_mailgun(_signed_json(body), secret, self._clock.now())
        elif provider is Provider.SENDGRID and self._sendgrid_key is not None:
            check_sendgrid(request.environ, body, self._sendgrid_key, self._clock.now())
        else:
            check_password(request.environ.get(AUTHORIZATION), secret)
        return self._keep(provider, body, token)

    def _receive_sns(self, topic: str, body: bytes) -> Response:
        message = verified_message(body, topic, self._sns.certificate, self._clock.now())
        if message.kind == NOTIFICATION:
            return self._keep(Provider.SES, message.message, None)
        if message.kind == CONFIRMATION and message.token is not None:
            try:
                self._sns.confirm(confirmation_address(topic, message.token))
            except SourceUnavailable:
                raise NotVerifiable from None
            _log.info("mail-reports.subscribed", provider=Provider.SES.value)
        else:
            _log.warning("mail-reports.unsubscribed", provider=Provider.SES.value)
        return _accepted(0)

    def _keep(self, provider: Provider, body: bytes | str, token: str | None) -> Response:
        try:
            parsed = parse_reports(provider, body)
        except Unreadable:
            parsed = ParsedReports(unreadable=1)
        reports = parsed.reports + _unreadable(provider, body, parsed.unreadable)
        now = self._clock.now()
        hashed = partial(mailbox_hash, secret_key=self._secret_key())
        with writing(self._engine) as connection:
            if token is None:
                store_reports(connection, reports, hashed, now)
            # Mailgun sends one report in a request.
            elif not all(store_once(connection, one, token, hashed, now) for one in reports):
                raise BadSignature(Refusal.MAIL_REPLAYED)
        if reports:
            self._after_commit()
        if parsed.unreadable:
            _log.warning(
                "mail-reports.unreadable", provider=provider.value, unreadable=parsed.unreadable
            )
        return _accepted(len(parsed.reports))

    def _secret_key(self) -> str:
        if self._key is None:
            try:
                self._key = checked_secret_key(self._settings, self._engine, self._clock.now())
            except ConfigurationError as error:
                raise LedgerUnavailable(str(error), needs_person=True) from None
        return self._key


def _signed_json(body: bytes) -> object:
    try:
        return read_json(body)
    except Unreadable:
        raise BadSignature(Refusal.MAIL_UNSIGNED) from None


def _unreadable(provider: Provider, body: bytes | str, number: int) -> list[MailReport]:
    """Return one row for what cannot be read in a body, so that it is counted; nothing of it."""
    if not number:
        return []
    raw = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
    name = f"{number} {hashlib.sha256(raw).hexdigest()}"
    return [MailReport(provider, ReportKind.UNREADABLE, name)]


def _accepted(number: int) -> Response:
    return Response(f'{{"accepted":{number}}}\n', 200, mimetype="application/json")
