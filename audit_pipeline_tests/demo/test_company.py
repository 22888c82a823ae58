"""The company: as many as asked, the same from the same seed, and nothing in it that could be real."""

from __future__ import annotations

from collections import Counter

import pytest

from audit_pipeline.demo.company import Company
from audit_pipeline.demo.operations import CATALOGUE, REGIONS, ROLE_USES


def test_company_has_who_was_asked_for() -> None:
    company = Company.make(7)
    assert (len(company.people), len(company.services)) == (220, 80)
    assert len({actor.account for actor in company.actors}) == 301
    roles = Counter(actor.role for actor in company.actors)
    assert {
        "engineer",
        "analyst",
        "finance",
        "support",
        "admin",
        "sre",
        "ci",
        "backup",
        "web",
        "etl",
        "monitoring",
    } <= set(roles)
    assert {actor.region for actor in company.actors} == set(REGIONS)
    assert {person.identity for person in company.people} == {"iam_user", "sso"}


def test_seed_decides() -> None:
    assert Company.make(7) == Company.make(7)
    assert Company.make(7) != Company.make(8)


def test_owners_of_services_are_people() -> None:
    company = Company.make(3)
    people = {person.person for person in company.people}
    assert {service.person for service in company.services} <= people


@pytest.mark.parametrize(("people", "services"), [(9, 80), (220, 9), (2001, 80)])
def test_impossible_sizes_are_refused(people: int, services: int) -> None:
    with pytest.raises(ValueError, match="people must be"):
        Company.make(1, people, services)


def test_every_operation_is_used_and_every_used_one_is_known() -> None:
    used = {key for uses in ROLE_USES.values() for key in uses}
    assert used == set(CATALOGUE)
    assert {actor.role for actor in Company.make(1).actors} == set(ROLE_USES)
