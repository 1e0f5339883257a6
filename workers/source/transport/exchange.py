"""One HTTP exchange with the source: bounded in time and size, never redirected, never repeated.

`requests` has no limit for the whole exchange and none for the size, so connections know the
deadline and the body is read here piece by piece. Waiting and trying again are decided by the
ledger's due times.
"""

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy

import requests
from urllib3.exceptions import HTTPError

from schemas.errors import SourceRefused, SourceUnavailable
from workers.source.answers import Answer
from workers.source.transport.deadline import CONNECT_S, READ_S, BoundedAdapter, Deadline
from workers.source.transport.trouble import sentence_of

WHOLE_S = 30.0  # for one exchange
MOST_BYTES = 5 * 1024 * 1024  # of an answer, unpacked
_PIECE = 64 * 1024


class Transport:
    """Kept connections to the source. Use one per thread, made after a fork.

    `authorities` is a file of certificates to trust in place of the well-known ones.
    """

    def __init__(
        self, base_url: str, *, whole_s: float = WHOLE_S, authorities: str | None = None
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._whole_s = whole_s
        self._deadline = Deadline()
        # It warns of headers it cannot read, and quotes the address with its query.
        logging.getLogger("urllib3.connection").setLevel(logging.ERROR)
        self._session = _Session()
        self._session.verify = authorities or True
        # Proxies and .netrc of the machine must not decide where credentials go.
        self._session.trust_env = False
        # A token says who we are; a cookie must not say otherwise.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, BoundedAdapter(self._deadline))

    def close(self) -> None:
        """Close the kept connections."""
        self._session.close()

    def get(self, path: str, query: Mapping[str, str], token: str) -> Answer:
        """Return the answer to a GET below /api.

        Raises:
            SourceUnavailable: no whole answer in time; the sentence says of what kind it is.
            SourceRefused: a redirect, or an answer over the size cap.
        """
        return self._exchange("GET", path, {"Authorization": f"Bearer {token}"}, params=query)

    def post_form(self, path: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """Return the answer to a form POST below /api. Raises as `get`."""
        return self._exchange("POST", path, headers, body=form)

    def send_json(self, method: str, path: str, value: object, token: str) -> Answer:
        """Return the answer to a POST or PUT of one JSON value below /api. Raises as `get`.

        Without an answer nobody knows whether it was done: look before sending it again (contract,
        section 6).
        """
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return self._exchange(method, path, headers, body=json.dumps(value).encode())

    def _exchange(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, str] | bytes | None = None,
    ) -> Answer:
        common = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "User-Agent": "coursebell",
        }
        self._deadline.start(self._whole_s)
        try:
            with self._session.request(
                method,
                f"{self._base_url}/api/{path}",
                headers={**common, **headers},
                timeout=(CONNECT_S, READ_S),
                allow_redirects=False,
                stream=True,
                params=params,
                data=body,
            ) as response:
                return _whole(response)
        except (requests.RequestException, HTTPError, OSError) as error:
            raise SourceUnavailable(f"no answer from the source: {sentence_of(error)}") from None


class _Session(requests.Session):
    """A session that does not even look where a redirect leads.

    Left to itself it reads the redirect's whole body, without a limit, and takes its target apart.
    """

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 - the signature of `requests`
        return None


def _whole(response: requests.Response) -> Answer:
    if HTTPStatus.MULTIPLE_CHOICES <= response.status_code < HTTPStatus.BAD_REQUEST:
        raise SourceRefused(f"the source answered {response.status_code}, a redirect; not followed")
    body = bytearray()
    while piece := response.raw.read1(_PIECE, decode_content=True):
        body += piece
        if len(body) > MOST_BYTES:
            raise SourceRefused(f"the source's answer is over {MOST_BYTES} bytes")
    headers = {name.lower(): value for name, value in response.headers.items()}
    # As RFC 9110, 6.6.1 asks of whoever hands an answer on: a Retry-After may be a date.
    headers.setdefault("date", format_datetime(datetime.now(UTC), usegmt=True))
    return Answer(response.status_code, headers, bytes(body))
