"""The action `webhook`: prepares a message from what is true now, and posts it to an endpoint."""

import re
from collections.abc import Iterable
from datetime import datetime
from http import HTTPStatus
from typing import Self

from schemas.actions import endpoint_of
from schemas.endpoints import Endpoint, Shape
from schemas.errors import ChannelUnavailable, DeliveryRefused
from schemas.reasons import Reason
from schemas.settings import Settings
from workers.actions.base import Action, ActionContext, Checkpoints, DeliveryReasons, Prepared
from workers.actions.webhook import KIND, read_endpoints
from workers.actions.webhook.exchange import Exchange, Reply
from workers.actions.webhook.message import (
    MEDIA_TYPE,
    VERSION,
    body_of,
    event_of,
    event_of_test,
    headers_of,
    message_id,
    sentence,
)

_TEST_WORDS = "This is a test by Coursebell. Messages about courses will arrive here."
_CODE = re.compile(rb"[a-z_]{1,40}")  # such as Slack's `channel_is_archived`
# These refuse no message: the endpoint did not process it, and may the next time.
_TRY_AGAIN = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY})


class WebhookAction(Action):
    """Posts messages. Repeatable: a receiver recognises a repeat by its id."""

    kind = KIND
    repeatable = True
    reasons = DeliveryReasons(
        maybe_own=frozenset({Reason.DELIVERY_DOWN, Reason.ENDPOINT_REFUSES}),
        refuses_all=Reason.ENDPOINT_REFUSES,
    )

    def __init__(self, endpoints: Iterable[Endpoint], exchange: Exchange) -> None:
        self._endpoints = {one.name: one for one in endpoints}
        self._exchange = exchange

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the action as workers use it."""
        return cls(read_endpoints(settings), Exchange(settings.endpoint_networks))

    def prepare(self, context: ActionContext) -> Prepared:
        """Return the message for this context. See `Action.prepare`."""
        name = endpoint_of(context.recipient.audience if context.recipient else None)
        endpoint = self._endpoints.get(name or "")
        if endpoint is None:
            raise DeliveryRefused("COURSEBELL_ENDPOINTS has no endpoint of this name any more")
        title = sentence(context, endpoint)
        body = body_of(endpoint, event_of(context, endpoint), title)
        identity = message_id(context.action_key)

        def send(checkpoints: Checkpoints) -> str:
            return self._post(endpoint, identity, body, context.now, checkpoints)

        return Prepared(None, title, body, MEDIA_TYPE, send, VERSION)

    def send_test(self, name: str, identity: str, now: datetime) -> str:
        """Post a test message to an endpoint that exists; return what it answered.

        Raises as `Prepared.send`.
        """
        endpoint = self._endpoints[name]
        body = body_of(endpoint, event_of_test(now), _TEST_WORDS)
        return self._post(endpoint, identity, body, now, Checkpoints())

    def _post(
        self,
        endpoint: Endpoint,
        identity: str,
        body: bytes,
        now: datetime,
        checkpoints: Checkpoints,
    ) -> str:
        headers = headers_of(endpoint, identity, body, now)
        reply = self._exchange.post(endpoint.url, headers, body, checkpoints)
        return _receipt(endpoint, reply)


def _receipt(endpoint: Endpoint, reply: Reply) -> str:
    """Return the receipt for an answer, or raise what it means."""
    answer = str(reply.status)
    if endpoint.shape is Shape.SLACK and _CODE.fullmatch(reply.body.strip()):
        answer = f"{answer} {reply.body.strip().decode()}"
    status = reply.status
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return f"answered {answer}"
    asked_s = reply.retry_after_s if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    if status == HTTPStatus.TOO_MANY_REQUESTS or asked_s is not None:
        raise ChannelUnavailable(
            Reason.DELIVERY_BUSY,
            "the endpoint asks us to wait",
            answer=answer,
            retry_after_s=reply.retry_after_s,
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRY_AGAIN:
        raise ChannelUnavailable(
            Reason.DELIVERY_DOWN, "the endpoint answered with an error of its own", answer=answer
        )
    if status == HTTPStatus.GONE:
        raise DeliveryRefused(
            "the endpoint is gone for good",
            detail=f"it answered {answer}",
            reason=Reason.ENDPOINT_GONE,
        )
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        raise DeliveryRefused(
            "the endpoint redirects, which is not followed",
            detail=f"it answered {answer}, a redirect; set the address it leads to",
        )
    raise DeliveryRefused("the endpoint refused it", detail=f"it answered {answer}")
