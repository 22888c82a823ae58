"""Ceilings: what is shown of the new, why the rest is not, and that no later day changes it."""

from __future__ import annotations

import datetime as dt
from typing import Any

from audit_pipeline.findings.budget import Candidate, choose
from audit_pipeline.findings.risk import SEVERITY, risk
from audit_pipeline.sections import BudgetSettings
from audit_pipeline_tests.detections.helpers import DAY, at

NEXT = DAY + dt.timedelta(days=1)
ROOMY = {"anomalies_per_day": 100, "findings_per_team_and_day": 100, "findings_per_day": 100}


def as_of(day: dt.date) -> dt.datetime:
    return at(27, day=day)


def seen(day: dt.date = DAY, level: str = "medium", **more: Any) -> dict[str, Any]:
    base = {"day": day, "level": level, "sources": ["idp"], "verdict": "no_gap_seen", "x_actor_kind": "human", "privileged": False}  # fmt: skip
    return {**base, **more}


def some(n: int, kind: str = "rule", team: str | None = "cloud", name: str = "f", **more: Any) -> list[Candidate]:
    return [Candidate(f"{name}{i}", kind, team, [seen(**more)]) for i in range(n)]


def held(candidates: list[Candidate], **ceilings: int) -> dict[str, str]:
    chosen = choose(candidates, BudgetSettings(**{**ROOMY, **ceilings}), as_of)
    assert set(chosen) == {one.finding_id for one in candidates}
    return {name: why for name, why in chosen.items() if why is not None}


def test_a_teams_ceiling_cuts_and_names_what_is_over_it() -> None:
    found = held([*some(5), *some(2, team="network", name="n")], findings_per_team_and_day=3)
    assert found == {
        "f3": "4th of team cloud on 2026-03-02, ceiling 3",
        "f4": "5th of team cloud on 2026-03-02, ceiling 3",
    }


def test_the_days_ceiling_counts_all_teams() -> None:
    found = held([c for i in range(6) for c in some(2, team=f"t{i}", name=f"t{i}_")], findings_per_day=10)
    assert len(found) == 2
    assert "11th new finding on 2026-03-02, ceiling 10" in found.values()


def test_anomalies_have_a_ceiling_of_their_own() -> None:
    found = held([*some(4, "anomaly"), *some(4, name="r")], anomalies_per_day=2)
    assert sorted(found) == ["f2", "f3"]
    assert found["f2"] == "3rd anomaly on 2026-03-02, ceiling 2"


def test_critical_and_high_rules_are_never_cut_but_take_room() -> None:
    found = held([*some(6, level="high"), *some(1, level="medium", name="m")], findings_per_team_and_day=3)
    assert sorted(found) == ["m0"]
    assert len(held(some(6, "anomaly", level="high"), findings_per_team_and_day=3)) == 3


def test_noise_of_services_does_not_bury_a_person() -> None:
    services = some(9, x_actor_kind="service", privileged=True, name="a")
    found = held([*services, *some(1, name="z", level="low")], findings_per_team_and_day=3)
    assert "z0" not in found
    assert len(found) == 7


def test_what_is_held_back_asks_again_on_the_next_day_it_is_detected() -> None:
    again = Candidate("z", "rule", "cloud", [seen(level="low"), seen(NEXT, level="low")])
    never = Candidate("zz", "rule", "cloud", [seen(level="low")])
    found = held([*some(3), again, never], findings_per_team_and_day=3)
    assert list(found) == ["zz"]


def test_a_later_day_changes_no_earlier_choice() -> None:
    """The finding that is worst of all later was held back on the first day, and still was when the later day is known."""
    first = [*some(3), Candidate("z", "rule", "cloud", [seen(level="low")])]
    later = [*some(3), Candidate("z", "rule", "cloud", [seen(level="low"), seen(NEXT, level="critical")])]
    others = some(3, day=NEXT, level="critical", name="n")
    assert list(held(first, findings_per_team_and_day=3)) == ["z"]
    assert held([*later, *others], findings_per_team_and_day=3) == {}
    assert list(held([*first, *others], findings_per_team_and_day=3)) == ["z"]


def test_what_was_reopened_is_new_again_and_what_was_decided_about_takes_no_room() -> None:
    known = [Candidate(f"k{i}", "rule", "cloud", [seen(), seen(NEXT)], decided=[at(12)]) for i in range(3)]
    found = held([*known, *some(3, day=NEXT, name="n")], findings_per_team_and_day=3)
    assert found == {}
    back = [Candidate(f"k{i}", "rule", "cloud", [seen()], [at(9, day=NEXT)], [at(12)]) for i in range(3)]
    assert len(held([*back, *some(3, day=NEXT, name="n")], findings_per_team_and_day=3)) == 3


def test_the_points_are_the_sum_of_the_terms_that_are_shown() -> None:
    known = [seen(level="high", privileged=True, verdict="partial"), seen(NEXT, level="low", sources=["vpn"])]
    points, words = risk(known, reopened=2, overdue=True)
    assert words.startswith("severity high 60 · seen on 2 days +2 · ")
    assert "incomplete day −5" in words
    assert points == sum(int(term.rsplit(" ", 1)[1].replace("−", "-")) for term in words.split(" · "))


def test_no_terms_lift_a_finding_above_the_next_severity() -> None:
    for level, points in SEVERITY.items():
        days = [seen(DAY + dt.timedelta(days=i), level=level, sources=[f"s{i}"], privileged=True) for i in range(40)]
        assert risk(days, reopened=9, overdue=True)[0] <= points + 20 <= 100
