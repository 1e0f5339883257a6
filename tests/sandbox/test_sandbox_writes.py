"""Webhooks of the stand-in written over its API, with the traps that are known of the real one."""

from typing import Any

import pytest
import requests

from tests.sandbox.sandbox_rig import Receiver, Running, until
from tests.sandbox.switch_rig import rows, switched

HOOKS = "/api/sys/webhooks"
BUSINESS_ID = 1_416_000_001
FIELDS: dict[str, Any] = {
    "BusinessId": BUSINESS_ID,
    "Name": "Coursebell",
    "Action": 1,
    "URL": "https://bell.example.org/hooks/nexudus?key=1",
    "Description": "About courses",
    "Active": True,
}
MEMBER_HOOK_ID = 1_416_050_000


def sent(sandbox: Running, method: str, body: object) -> requests.Response:
    address = sandbox.addresses["api"] + HOOKS
    return sandbox.web.request(method, address, json=body, timeout=20)


def hook(sandbox: Running, record_id: int) -> dict[str, Any]:
    found: dict[str, Any] = sandbox.get(f"{HOOKS}/{record_id}").json()
    return found


def state(sandbox: Running, record_id: int = MEMBER_HOOK_ID) -> tuple[bool, int]:
    found = hook(sandbox, record_id)
    return found["Active"], found["ErrorCount"]


def test_a_created_webhook_is_answered_whole_and_can_be_read(silent_sandbox: Running) -> None:
    silent_sandbox.post("/sandbox/clock", now="2026-03-02T09:00:00Z")
    answer = sent(silent_sandbox, "POST", FIELDS)
    said = answer.json()
    assert answer.status_code == 200
    assert (said["Status"], said["WasSuccessful"], said["Errors"]) == (200, True, None)
    assert set(said) == {
        *("Status", "Message", "Value", "OpenInDialog", "OpenInWindow", "RedirectURL"),
        *("JavaScript", "UpdatedOn", "UpdatedBy", "Errors", "WasSuccessful"),
    }
    read = hook(silent_sandbox, said["Value"]["Id"])
    assert {name: read[name] for name in FIELDS} == FIELDS
    assert set(said["Value"]) == set(read)
    assert (read["CreatedOn"], read["LastTrigger"]) == ("2026-03-02T09:00:00Z", None)


@pytest.mark.parametrize("missing", ["BusinessId", "Name", "Action", "URL"])
def test_a_missing_required_field_is_400_with_status_500_in_the_body(
    silent_sandbox: Running, missing: str
) -> None:
    answer = sent(silent_sandbox, "POST", {**FIELDS, missing: None})
    said = answer.json()
    assert answer.status_code == 400
    assert (said["Status"], said["WasSuccessful"], said["Value"]) == (500, False, None)
    assert [error["PropertyName"] for error in said["Errors"]] == [missing]
    assert len(rows(silent_sandbox, HOOKS)) == 1


def test_an_impossible_location_is_200_with_was_successful_false(
    silent_sandbox: Running,
) -> None:
    answer = sent(silent_sandbox, "POST", {**FIELDS, "BusinessId": 77})
    said = answer.json()
    assert (answer.status_code, said["WasSuccessful"]) == (200, False)
    assert [error["PropertyName"] for error in said["Errors"]] == ["BusinessId"]
    assert sent(silent_sandbox, "POST", [FIELDS]).status_code == 400
    assert len(rows(silent_sandbox, HOOKS)) == 1


def test_an_edit_clears_what_it_leaves_out_and_answers_only_the_id(
    silent_sandbox: Running,
) -> None:
    record_id = sent(silent_sandbox, "POST", FIELDS).json()["Value"]["Id"]
    kept = {name: FIELDS[name] for name in ("BusinessId", "Name", "Action", "URL")}
    said = sent(silent_sandbox, "PUT", {**kept, "Id": record_id, "Name": "Other"}).json()
    assert (said["Value"], said["WasSuccessful"]) == ({"Id": record_id}, True)
    after = hook(silent_sandbox, record_id)
    assert (after["Name"], after["Description"], after["Active"]) == ("Other", None, False)
    assert sent(silent_sandbox, "PUT", {**kept, "Id": 5}).json() == "Not found"
    assert sent(silent_sandbox, "PUT", FIELDS).status_code == 400
    assert sent(silent_sandbox, "PUT", {"Id": record_id, "Active": True}).status_code == 400


def test_fields_of_the_source_cannot_be_written(silent_sandbox: Running) -> None:
    record_id = sent(silent_sandbox, "POST", FIELDS).json()["Value"]["Id"]
    its_own = {"ErrorCount": 9, "LastError": "HTTP 500", "LastTrigger": "2026-03-02T09:00:00Z"}
    change = {"entity": "WebHook", "id": record_id, "fields": its_own}
    silent_sandbox.post("/sandbox/change", **change)
    whole = hook(silent_sandbox, record_id)
    body = {**whole, "ErrorCount": 0, "LastError": None, "LastTrigger": None, "Description": "New"}
    assert sent(silent_sandbox, "PUT", body).json()["WasSuccessful"]
    after = hook(silent_sandbox, record_id)
    assert {name: after[name] for name in its_own} == its_own
    assert after["Description"] == "New"


def test_an_inactive_webhook_makes_no_delivery_until_it_is_active_again(
    sandbox: Running, receiver: Receiver
) -> None:
    sandbox.sign_in()
    fields = {"Active": False}
    sandbox.post("/sandbox/change", entity="WebHook", id=MEMBER_HOOK_ID, fields=fields)
    sandbox.enrol("Joël", "Finance")
    tries = [("not sent, the webhook is switched off", None)]

    def log() -> list[tuple[str, int | None]]:
        attempts = sandbox.get("/sandbox/deliveries").json()["deliveries"]
        return [(one["error"], one["status"]) for one in attempts]

    until(lambda: log() == tries)
    assert not receiver.received
    whole = hook(sandbox, MEMBER_HOOK_ID)
    assert sent(sandbox, "PUT", {**whole, "Active": True}).json()["WasSuccessful"]
    sandbox.enrol("Zoë", "Finance")
    until(lambda: log() == [*tries, ("", 202)])
    assert sent(sandbox, "PUT", {**whole, "Active": False}).json()["WasSuccessful"]
    sandbox.enrol("Jonas", "Finance")
    until(lambda: log() == [*tries, ("", 202), *tries])
    assert len(receiver.received) == 1
    assert state(sandbox) == (False, 0)


def test_a_dead_webhook_switched_on_dies_of_the_next_failure_unless_one_succeeds(
    sandbox: Running, receiver: Receiver
) -> None:
    sandbox.sign_in()
    receiver.status = 500
    sandbox.enrol("Joël", "Finance")
    until(lambda: state(sandbox) == (False, 10))

    def switch_on() -> None:
        sent(sandbox, "PUT", {**hook(sandbox, MEMBER_HOOK_ID), "Active": True})
        assert state(sandbox)[0]

    switch_on()
    assert state(sandbox) == (True, 10)
    sandbox.enrol("Zoë", "Finance")
    until(lambda: state(sandbox) == (False, 11))
    switch_on()
    receiver.status = 202
    sandbox.enrol("Jonas", "Finance")
    until(lambda: state(sandbox) == (True, 0))


def test_a_reset_switches_hooks_on_again(sandbox: Running, receiver: Receiver) -> None:
    fields = {"Active": False}
    sandbox.post("/sandbox/change", entity="WebHook", id=MEMBER_HOOK_ID, fields=fields)
    sandbox.post("/sandbox/reset")
    sandbox.enrol("Joël", "Finance")
    until(lambda: len(receiver.received) == 1)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(("way", "method"), [("create", "POST"), ("edit", "PUT")])
def test_the_permission_to_write_can_be_missing_while_reading_is_allowed(
    shared: Running, way: str, method: str, status: int
) -> None:
    [foreign] = rows(shared, HOOKS)
    other = {"POST": "PUT", "PUT": "POST"}[method]
    with switched(shared, "missing-right", entity="WebHook", way=way, status=status):
        assert sent(shared, method, {**FIELDS, "Id": foreign["Id"]}).status_code == status
        assert sent(shared, other, {}).status_code == 400
        assert hook(shared, foreign["Id"])["Name"] == foreign["Name"]
    with switched(shared, "missing-right", entity="WebHook"):
        assert shared.get(HOOKS).status_code == 401
        assert sent(shared, method, {}).status_code == 400


def test_writes_have_limits_of_their_own_beside_those_of_all_requests(
    silent_sandbox: Running,
) -> None:
    with switched(silent_sandbox, "quota", per_100ms=None, writes_per_minute=2):
        assert [sent(silent_sandbox, "POST", {}).status_code for _ in range(3)] == [400, 400, 409]
        assert silent_sandbox.get(HOOKS).status_code == 200
    counted = silent_sandbox.get("/sandbox/reads").json()
    assert counted["writes"] == {HOOKS: 3}
    assert counted["by_path"] == {HOOKS: 1}


def test_only_webhooks_can_be_written(shared: Running) -> None:
    address = shared.addresses["api"] + "/api/content/courses"
    assert shared.web.post(address, json={}, timeout=20).status_code == 405
