"""The published limits, to the request and to the moment."""

from dataclasses import dataclass

from sandbox.quota import Quota
from tests.sandbox.sandbox_rig import Running
from tests.sandbox.switch_rig import COURSES, asked_for_token, raw_answer, switched

PUBLISHED = {
    "per_100ms": 1,
    "per_minute": 120,
    "per_hour": 5_000,
    "per_day": 200_000,
    "writes_per_minute": 60,
    "writes_per_day": 5_000,
}


@dataclass
class Clock:
    """A clock that stands until it is moved."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_request_each_100_ms_passes_and_one_sooner_does_not() -> None:
    clock = Clock()
    quota = Quota(clock)
    assert quota.admits("a", PUBLISHED)
    clock.now = 1000.099
    assert not quota.admits("a", PUBLISHED)
    assert quota.admits("b", PUBLISHED)
    clock.now = 1000.1001
    assert quota.admits("a", PUBLISHED)
    report = quota.report(PUBLISHED)
    assert (report["asked"], report["refused"], report["largest"]["per_100ms"]) == (4, 1, 2)


def test_the_121st_of_a_minute_is_refused_until_the_first_is_a_minute_old() -> None:
    clock = Clock(0.0)
    quota = Quota(clock)
    for _ in range(120):
        assert quota.admits("a", PUBLISHED)
        clock.now += 0.25
    assert not quota.admits("a", PUBLISHED)
    clock.now = 59.999
    assert not quota.admits("a", PUBLISHED)
    clock.now = 60.0
    assert quota.admits("a", PUBLISHED)
    assert not quota.admits("a", PUBLISHED)
    assert quota.report(None)["largest"]["per_minute"] == 121


def test_hours_and_days_have_limits_too_and_none_is_no_limit() -> None:
    clock = Clock(0.0)
    quota = Quota(clock)
    only = {"per_100ms": None, "per_minute": None, "per_hour": 3, "per_day": 4}
    admitted = []
    for at in (0, 1, 2, 3, 3600, 3601, 86_400):
        clock.now = at
        admitted.append(quota.admits("a", only))
    assert admitted == [True, True, True, False, True, False, True]


def test_the_limit_is_kept_over_http_when_it_is_switched_on(shared: Running) -> None:
    shared.post("/sandbox/reads/reset")
    assert all(shared.get(COURSES).status_code == 200 for _ in range(3))
    assert shared.get("/sandbox/quota").json()["on"] is False
    shared.post("/sandbox/reads/reset")
    with switched(shared, "quota", per_100ms=None, per_minute=2):
        assert [shared.get(COURSES).status_code for _ in range(3)] == [200, 200, 409]
        with raw_answer(shared, COURSES) as answer:
            assert answer.reason == "You must wait before accessing this url again."
            assert answer.headers["Retry-After"] == "1"
            assert (answer.headers["Content-Length"], answer.read()) == ("0", b"")
        assert asked_for_token(shared).status_code == 200
        report = shared.get("/sandbox/quota").json()
        assert (report["asked"], report["refused"]) == (4, 2)
        assert report["largest"]["per_minute"] == 3
        assert report["limits"] == {**PUBLISHED, "per_100ms": None, "per_minute": 2}
    assert shared.get(COURSES).status_code == 200
