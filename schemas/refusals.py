"""Why a delivery was refused: the closed list, with what each means and what to do about it.

Nexudus switches a webhook off after ten answers in a row that are not 2xx (contract, section 5.4),
so every refusal that may concern its own deliveries is counted and shown to the operator.
"""

from dataclasses import dataclass
from enum import StrEnum


class Refusal(StrEnum):
    """Why a request to a hook route was not accepted. The values are stored in the ledger."""

    NO_SECRET = "no-secret"
    UNSIGNED = "unsigned"
    MALFORMED_SIGNATURE = "malformed-signature"
    WRONG_SIGNATURE = "wrong-signature"
    NO_TOKEN = "no-token"
    MISSING_TOKEN = "missing-token"
    WRONG_TOKEN = "wrong-token"
    UNKNOWN_ROUTE = "unknown-route"
    TOO_LARGE = "too-large"
    TOO_SLOW = "too-slow"
    OVERLOADED = "overloaded"
    NOT_STORED = "not-stored"


OF_HOOKS = frozenset(
    {
        Refusal.NO_SECRET,
        Refusal.UNSIGNED,
        Refusal.MALFORMED_SIGNATURE,
        Refusal.WRONG_SIGNATURE,
    }
)
OF_RELAYS = frozenset({Refusal.NO_TOKEN, Refusal.MISSING_TOKEN, Refusal.WRONG_TOKEN})
# Refusals of a request that has not shown who sent it.
UNPROVEN = OF_HOOKS | OF_RELAYS | {Refusal.UNKNOWN_ROUTE}

# Strangers seldom show a signature or a token at all, so these are likely our own webhooks or relay
# with another secret.
LIKELY_OURS = frozenset({Refusal.WRONG_SIGNATURE, Refusal.WRONG_TOKEN})


@dataclass(frozen=True, slots=True)
class RefusalText:
    """What the operator reads: the cause after "refused: ", and what to do."""

    cause: str
    advice: str


REFUSALS: dict[Refusal, RefusalText] = {
    Refusal.NO_SECRET: RefusalText(
        "no webhook secret is configured",
        "set COURSEBELL_HOOK_SECRETS to the shared secret of the webhooks at Nexudus",
    ),
    Refusal.UNSIGNED: RefusalText(
        "the signature header is missing",
        "if Nexudus sent them, set a shared secret for its webhooks",
    ),
    Refusal.MALFORMED_SIGNATURE: RefusalText(
        "the signature is not 64 hex digits",
        "if a proxy changes headers, let X-Nexudus-Hook-Signature through unchanged",
    ),
    Refusal.WRONG_SIGNATURE: RefusalText(
        "the signature does not match",
        "compare COURSEBELL_HOOK_SECRETS with the shared secret at Nexudus",
    ),
    Refusal.NO_TOKEN: RefusalText(
        "no relay token is configured",
        "set COURSEBELL_RELAY_TOKENS to the token that the relay sends",
    ),
    Refusal.MISSING_TOKEN: RefusalText(
        "the relay token is missing",
        "let the relay send the header Authorization: Bearer and its token",
    ),
    Refusal.WRONG_TOKEN: RefusalText(
        "the relay token is wrong",
        "compare COURSEBELL_RELAY_TOKENS with the token in the relay",
    ),
    Refusal.UNKNOWN_ROUTE: RefusalText(
        "no hook route has that address",
        "compare the address of the webhook with the routes in the README",
    ),
    Refusal.TOO_LARGE: RefusalText(
        "the body was too large",
        "let the sender split it into several requests",
    ),
    Refusal.TOO_SLOW: RefusalText(
        "the body did not arrive in time",
        "look at the network and at any proxy in front of Coursebell",
    ),
    Refusal.OVERLOADED: RefusalText(
        "too many requests arrived at once",
        "if this lasts, limit connections in a proxy in front of Coursebell",
    ),
    Refusal.NOT_STORED: RefusalText(
        "the ledger could not be written",
        "look at COURSEBELL_DATABASE_URL, its server and its disk",
    ),
}
