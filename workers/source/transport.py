"""One HTTP exchange with the source: bounded in time and size, never redirected, never repeated.

`requests` has no limit for the whole exchange and none for the size, so the body is read here
piece by piece against both. Waiting and trying again are decided by the ledger's due times.
"""

import time
from collections.abc import Mapping
from http import HTTPStatus

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from schemas.errors import SourceRefused, SourceUnavailable
from workers.source.answers import Answer

CONNECT_S = 5.0
READ_S = 20.0  # between two pieces
WHOLE_S = 30.0  # for one exchange
MOST_BYTES = 5 * 1024 * 1024
_PIECE = 64 * 1024


class Transport:
    """Kept connections to the source. Use one per thread, made after a fork."""

    def __init__(self, base_url: str, *, whole_s: float = WHOLE_S) -> None:
        self._base_url = base_url.rstrip("/")
        self._whole_s = whole_s
        self._session = requests.Session()
        # Proxies and .netrc of the machine must not decide where credentials go.
        self._session.trust_env = False
        retries = Retry(connect=1, read=0, redirect=0, status=0, other=0, raise_on_status=False)
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retries))

    def close(self) -> None:
        """Close the kept connections."""
        self._session.close()

    def get(self, path: str, query: Mapping[str, str], token: str) -> Answer:
        """Return the answer to a GET below /api.

        Raises:
            SourceUnavailable: no whole answer in time.
            SourceRefused: a redirect, or an answer over the size cap.
        """
        return self._exchange("GET", path, {"Authorization": f"Bearer {token}"}, params=query)

    def post_form(self, path: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """Return the answer to a form POST below /api. Raises as `get`."""
        return self._exchange("POST", path, headers, data=form)

    def _exchange(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        **content: Mapping[str, str],
    ) -> Answer:
        common = {"Accept": "application/json", "User-Agent": "coursebell"}
        deadline = time.monotonic() + self._whole_s
        try:
            with self._session.request(
                method,
                f"{self._base_url}/api/{path}",
                headers={**common, **headers},
                timeout=(CONNECT_S, min(READ_S, self._whole_s)),
                allow_redirects=False,
                stream=True,
                params=content.get("params"),
                data=content.get("data"),
            ) as response:
                return _whole(response, deadline)
        except (requests.RequestException, HTTPError, OSError) as error:
            # The exception's text may quote the address with its query, so only its kind is said.
            raise SourceUnavailable(f"no answer from the source: {type(error).__name__}") from None


def _whole(response: requests.Response, deadline: float) -> Answer:
    if HTTPStatus.MULTIPLE_CHOICES <= response.status_code < HTTPStatus.BAD_REQUEST:
        raise SourceRefused(f"the source answered {response.status_code}, a redirect; not followed")
    body = bytearray()
    while piece := response.raw.read1(_PIECE, decode_content=True):
        body += piece
        if len(body) > MOST_BYTES:
            raise SourceRefused(f"the source's answer is over {MOST_BYTES} bytes")
        if time.monotonic() > deadline:
            raise SourceUnavailable("the source did not finish its answer in time")
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, headers, bytes(body))
