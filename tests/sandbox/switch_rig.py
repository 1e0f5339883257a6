"""Switching misbehaviour on for a while, and asking without a library's help."""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import requests

from tests.sandbox.sandbox_rig import PASSWORD, USERNAME, Running

SWITCHES = "/sandbox/misbehaviours"
COURSES = "/api/content/courses"
COWORKERS = "/api/spaces/coworkers"
LESSONS = "/api/content/courselessons"
MEMBERS = "/api/content/coursemembers"
COMPLETED = "/api/content/coursecompletedlessons"


@contextmanager
def switched(sandbox: Running, name: str, **settings: object) -> Iterator[dict[str, Any]]:
    """Have one way switched on, and off again afterwards."""
    line = sandbox.post(SWITCHES, name=name, **settings)
    assert line["on"]
    try:
        yield line
    finally:
        assert not sandbox.post(SWITCHES, name=name, on=False)["on"]


def asked_for_token(
    sandbox: Running, in_header: str = "another-client", /, **fields: str
) -> requests.Response:
    """Ask for a token with the right password, or whatever the fields say instead."""
    asked = {"grant_type": "password", "username": USERNAME, "password": PASSWORD, **fields}
    return requests.post(
        sandbox.addresses["api"] + "/api/token",
        data=asked,
        headers={"client_id": in_header},
        timeout=20,
    )


def rows(sandbox: Running, path: str, **question: str | int) -> list[dict[str, Any]]:
    """Return the rows of one page."""
    found: list[dict[str, Any]] = sandbox.get(path, params=question).json()["Records"]
    return found


@contextmanager
def raw_answer(sandbox: Running, path: str) -> Iterator[http.client.HTTPResponse]:
    """Ask with the standard library, which neither repairs nor repeats anything."""
    address = urlsplit(sandbox.addresses["api"])
    connection = http.client.HTTPConnection(address.hostname or "", address.port or 0, timeout=20)
    try:
        token = str(sandbox.web.headers["Authorization"])
        connection.request("GET", path, headers={"Authorization": token})
        yield connection.getresponse()
    finally:
        connection.close()
