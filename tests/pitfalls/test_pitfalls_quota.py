"""The whole service stays within the published limits of the source, with all its processes."""

from pathlib import Path

from tests.e2e.house import open_house

LIMITS = "10/second;120/minute;5000/hour;200000/day"  # the defaults; other tests lift them
PEOPLE = ("Joël", "Zoë", "Mara", "Siobhán", "ليلى", "נועה")


def test_02_with_the_real_limits_everything_arrives_and_hardly_anything_is_refused(
    tmp_path: Path,
) -> None:
    with open_house(tmp_path, COURSEBELL_NEXUDUS_LIMITS=LIMITS) as house:
        house.sandbox.post("/sandbox/misbehaviours", name="quota", on=True)
        for person in PEOPLE:
            member = house.sandbox.enrol(person, "Freelance Finance")
            house.sandbox.post("/sandbox/finish-lesson", course_member_id=member)
        house.wait_idle()
        assert len(house.mails()) == 2 * len(PEOPLE)
        quota = house.sandbox.get("/sandbox/quota").json()
        assert quota["largest"]["per_minute"] <= 120
        # Two that left in good order may arrive closer together; what is refused comes again.
        assert quota["refused"] < quota["asked"] / 4
