"""The stand-in's API over real HTTP, with the traps of the real one."""

import http.client
import threading
from urllib.parse import urlsplit

import pytest
import requests

from tests.sandbox.sandbox_rig import PASSWORD, USERNAME, Running, until
from tests.sandbox.switch_rig import COMPLETED, LESSONS, MEMBERS, asked_for_token, rows


def test_a_refresh_with_another_client_id_is_refused(silent_sandbox: Running) -> None:
    first = asked_for_token(silent_sandbox, "one").json()
    assert first["token_type"] == "bearer"
    assert first["expires_in"] == 604799
    again = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    refused = asked_for_token(silent_sandbox, "another", **again)
    assert refused.status_code == 400
    assert refused.json()["error"] == "invalid_grant"
    granted = asked_for_token(silent_sandbox, "one", **again)
    assert granted.status_code == 200
    assert granted.json()["access_token"] != first["access_token"]
    assert asked_for_token(silent_sandbox, "one", **again).status_code == 400


def test_a_client_id_left_out_is_the_user_name(silent_sandbox: Running) -> None:
    grant = {"grant_type": "password", "username": USERNAME, "password": PASSWORD}
    token = silent_sandbox.addresses["api"] + "/api/token"
    first = requests.post(token, data=grant, timeout=10).json()
    again = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    granted = requests.post(token, data={**again, "client_id": USERNAME}, timeout=10)
    assert granted.status_code == 200


def test_a_new_sign_in_ends_the_tokens_of_the_same_client(silent_sandbox: Running) -> None:
    before = dict(silent_sandbox.web.headers)
    silent_sandbox.sign_in()
    assert silent_sandbox.get(MEMBERS).status_code == 200
    assert silent_sandbox.get(MEMBERS, headers=before).status_code == 401


def test_a_wrong_password_is_refused(silent_sandbox: Running) -> None:
    refused = asked_for_token(silent_sandbox, password="wrong")
    assert refused.json()["error"] == "invalid_grant"


def test_a_token_asked_for_in_json_is_an_unsupported_grant(silent_sandbox: Running) -> None:
    answer = silent_sandbox.web.post(
        silent_sandbox.addresses["api"] + "/api/token",
        json={"grant_type": "password", "username": USERNAME, "password": PASSWORD},
        timeout=10,
    )
    assert answer.status_code == 400
    assert answer.json()["error"] == "unsupported_grant_type"


@pytest.mark.parametrize("path", [MEMBERS, f"{MEMBERS}/1", "/api/spaces/coworkers/?id=[1]"])
def test_without_a_good_token_nothing_is_read(silent_sandbox: Running, path: str) -> None:
    answer = silent_sandbox.get(path, headers={"Authorization": "Bearer guessed"})
    assert answer.status_code == 401


def test_tokens_can_be_made_to_expire(silent_sandbox: Running) -> None:
    assert silent_sandbox.post("/sandbox/tokens/expire") == {"expired": 1}
    assert silent_sandbox.get(MEMBERS).status_code == 401


def test_an_enrolment_reads_as_the_contract_says(silent_sandbox: Running) -> None:
    member_id = silent_sandbox.enrol("Mara", "Ceramics", approved=False)
    answer = silent_sandbox.get(f"{MEMBERS}/{member_id}")
    record = answer.json()
    assert answer.headers["Content-Type"].startswith("application/json")
    assert record["Id"] == member_id
    assert record["CourseTitle"] == "Ceramics: Feuer & Glasur <Grundkurs>"
    assert record["CoworkerCoworkerType"] == "Company"
    assert (record["Approved"], record["Blocked"]) == (False, False)
    assert record["LastCompletedLessonId"] is None
    assert len(record["CreatedOn"]) == len("2026-08-04T15:28:18Z")
    silent_sandbox.post("/sandbox/approve", course_member_id=member_id)
    assert silent_sandbox.get(f"{MEMBERS}/{member_id}").json()["Approved"] is True


def test_finishing_a_lesson_also_changes_the_enrolment(silent_sandbox: Running) -> None:
    member_id = silent_sandbox.enrol("Joël", "Finance")
    done = silent_sandbox.post("/sandbox/finish-lesson", course_member_id=member_id)
    completed = silent_sandbox.get(f"{COMPLETED}/{done['completed_lesson_id']}").json()
    assert completed["CourseLessonId"] == done["lesson_id"]
    assert completed["CourseMemberId"] == member_id
    assert not {"CourseId", "CoworkerId", "Email"} & set(completed)
    member = silent_sandbox.get(f"{MEMBERS}/{member_id}").json()
    assert member["LastCompletedLessonId"] == done["lesson_id"]
    assert member["LastCompletedLessonTitle"] == completed["CourseLessonTitle"]
    assert member["LastAccess"] == member["UpdatedOn"] == completed["CreatedOn"]


def test_a_course_is_finished_by_its_counting_lessons_only(silent_sandbox: Running) -> None:
    member_id = silent_sandbox.enrol("Joël", "Finance")
    done = silent_sandbox.post("/sandbox/finish-course", course_member_id=member_id)
    assert len(done["lesson_ids"]) == 4
    left = silent_sandbox.web.post(
        silent_sandbox.addresses["api"] + "/sandbox/finish-lesson",
        json={"course_member_id": member_id},
        timeout=10,
    )
    assert left.status_code == 409
    assert left.json() == {"error": "No lesson is left to finish."}


def test_a_dead_id_can_answer_500_while_the_list_stays_empty(silent_sandbox: Running) -> None:
    member_id = silent_sandbox.enrol("Joël", "Finance")
    silent_sandbox.post(
        "/sandbox/misbehaviours", name="dead-id-500", entity="CourseMember", id=member_id
    )
    assert silent_sandbox.get(f"{MEMBERS}/{member_id}").status_code == 200
    silent_sandbox.post("/sandbox/delete", entity="CourseMember", id=member_id)
    answer = silent_sandbox.get(f"{MEMBERS}/{member_id}")
    assert (answer.status_code, answer.json()) == (500, {"Message": "An error has occurred."})
    assert silent_sandbox.get(MEMBERS, params={"id": f"[{member_id}]"}).json() == []


def test_a_list_comes_in_pages(silent_sandbox: Running) -> None:
    first = silent_sandbox.get("/api/spaces/coworkers", params={"size": 3, "page": 1}).json()
    last = silent_sandbox.get("/api/spaces/coworkers", params={"size": 3, "page": 4}).json()
    assert [first[key] for key in ("CurrentPage", "CurrentPageSize")] == [1, 3]
    assert (first["FirstItem"], first["LastItem"], first["TotalItems"]) == (1, 3, 12)
    assert (first["TotalPages"], first["HasNextPage"], first["HasPreviousPage"]) == (4, True, False)
    assert (last["FirstItem"], last["LastItem"], last["HasNextPage"]) == (10, 12, False)
    assert first["CurrentOrderField"] == "Id"
    assert len(last["Records"]) == 3
    assert silent_sandbox.get("/api/spaces/coworkers").json()["CurrentPageSize"] == 25
    huge = silent_sandbox.get("/api/spaces/coworkers", params={"size": 99999}).json()
    assert huge["CurrentPageSize"] == 1000


def test_a_list_can_be_ordered_backwards(silent_sandbox: Running) -> None:
    found = rows(silent_sandbox, LESSONS, orderBy="Title", dir=-1)
    titles = [row["Title"] for row in found]
    assert titles == sorted(titles, reverse=True)


def test_a_relation_is_filtered_without_its_id_suffix(silent_sandbox: Running) -> None:
    course_id = silent_sandbox.course("Ceramics")
    assert len(rows(silent_sandbox, LESSONS, CourseLesson_Course=course_id)) == 3


@pytest.mark.parametrize("name", ["UpdatedSince", "CourseLesson_CourseId", "CourseMember_Course"])
def test_an_unknown_filter_is_ignored_silently(silent_sandbox: Running, name: str) -> None:
    assert len(rows(silent_sandbox, LESSONS, **{name: "1"})) == 12


def test_list_rows_and_several_by_id_are_partial(silent_sandbox: Running) -> None:
    found = rows(silent_sandbox, LESSONS)
    several = silent_sandbox.get(f"{LESSONS}/", params={"id": f"[{found[0]['Id']},5]"}).json()
    assert [row["Id"] for row in several] == [found[0]["Id"]]
    assert "LessonContents" not in found[0] | several[0]
    assert "LessonContents" in silent_sandbox.get(f"{LESSONS}/{found[0]['Id']}").json()


def test_reads_and_token_requests_are_counted_apart(silent_sandbox: Running) -> None:
    silent_sandbox.post("/sandbox/reads/reset")
    silent_sandbox.get(f"{MEMBERS}/7")
    silent_sandbox.get(MEMBERS)
    silent_sandbox.sign_in()
    reads = silent_sandbox.get("/sandbox/reads").json()
    by_path = {f"{MEMBERS}/7": 1, MEMBERS: 1}
    assert reads == {"total": 2, "by_path": by_path, "writes": {}, "token_grants": 1}


def test_an_answer_can_be_replaced_a_few_times(silent_sandbox: Running) -> None:
    silent_sandbox.post(
        "/sandbox/faults",
        kind="answer",
        path=MEMBERS,
        status=409,
        headers={"Retry-After": "1"},
        times=2,
    )
    answers = [silent_sandbox.get(MEMBERS) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [409, 409, 200]
    assert answers[0].headers["Retry-After"] == "1"
    assert answers[0].content == b""


def test_a_read_can_be_held_in_flight_until_it_is_released(silent_sandbox: Running) -> None:
    member_id = silent_sandbox.enrol("Joël", "Finance")
    silent_sandbox.post("/sandbox/faults", kind="hold", path=f"{MEMBERS}/{member_id}")
    answers: list[requests.Response] = []
    headers = dict(silent_sandbox.web.headers)
    address = f"{silent_sandbox.addresses['api']}{MEMBERS}/{member_id}"
    reader = threading.Thread(
        target=lambda: answers.append(requests.get(address, headers=headers, timeout=30))
    )
    reader.start()
    until(lambda: silent_sandbox.get("/sandbox/holding").json() == {"holding": 1})
    silent_sandbox.post("/sandbox/delete", entity="CourseMember", id=member_id)
    assert silent_sandbox.post("/sandbox/faults/release") == {"released": 1}
    reader.join()
    # What was held is the answer of before, though the record is gone by now.
    assert answers[0].json()["Id"] == member_id
    assert silent_sandbox.get(f"{MEMBERS}/{member_id}").status_code == 404
    assert silent_sandbox.get("/sandbox/holding").json() == {"holding": 0}


def test_a_connection_stays_open_for_the_next_read(silent_sandbox: Running) -> None:
    address = urlsplit(silent_sandbox.addresses["api"])
    connection = http.client.HTTPConnection(address.hostname or "", address.port or 0, timeout=10)
    try:
        sockets = []
        for _ in range(3):
            connection.request("GET", "/sandbox/people")
            connection.getresponse().read()
            sockets.append(connection.sock)
        assert sockets[0] is not None
        assert sockets[0] is sockets[1] is sockets[2]
    finally:
        connection.close()


def test_a_reset_forgets_everything(sandbox: Running) -> None:
    people = sandbox.get("/sandbox/people").json()
    first = sandbox.enrol("Joël", "Finance")
    sandbox.post("/sandbox/delete", entity="Coworker", id=sandbox.person("Zoë"))
    sandbox.post("/sandbox/misbehaviours", name="throttle", on=True)
    sandbox.post("/sandbox/faults", kind="answer", path="/api/content", status=500)
    token = sandbox.sign_in()["access_token"]
    sandbox.post("/sandbox/reset")
    assert sandbox.get("/sandbox/people").json() == people
    assert sandbox.get("/sandbox/reads").json()["total"] == 0
    assert not [one for one in sandbox.get("/sandbox/misbehaviours").json() if one["on"]]
    headers = {"Authorization": f"Bearer {token}"}
    answer = sandbox.get(f"/api/content/coursemembers/{first}", headers=headers)
    assert answer.status_code == 401
    assert sandbox.enrol("Joël", "Finance") == first
