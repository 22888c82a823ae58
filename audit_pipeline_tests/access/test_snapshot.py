"""Table `access`: the newest snapshot up to the day, held against a list that runs out; silence of a source is never nobody."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from audit_pipeline.access import snapshot
from audit_pipeline.access.approved import approvals
from audit_pipeline.clock import DAY
from audit_pipeline.errors import ConfigError
from audit_pipeline_tests.access.world import DELETE, FIRST, READ, Keeping, approval


def rows(world: Keeping, day: dt.date) -> list[tuple[Any, ...]]:
    table = snapshot.review(world.settings, world.lake, day).to_pylist()
    return [(row["source"], row["principal"], row["right"], row["approved"]) for row in table]


def test_the_newest_snapshot_up_to_the_day_counts(tmp_path: Path) -> None:
    """A later one does not enter a day that is computed again, and a failed collection hides none."""
    world = Keeping(tmp_path)
    world.entry("elastic", FIRST, access=[READ])
    world.entry("elastic", FIRST + DAY, failed=True)
    world.entry("elastic", FIRST + 2 * DAY, access=[READ, DELETE])
    seen = world.settings.as_of(FIRST)
    for day in (FIRST, FIRST + DAY):
        (row,) = snapshot.review(world.settings, world.lake, day).to_pylist()
        assert (row["principal"], row["right"], row["via"], row["approved"], row["seen_at"]) == (*READ, None, seen)
    assert [row[1] for row in rows(world, FIRST + 2 * DAY)] == ["role:auditor", "user:eve"]
    states = snapshot.states(world.lake, FIRST + DAY)
    assert states is not None
    assert states["elastic"] == {"state": "seen", "day": FIRST.isoformat(), "detail": ""}


def test_a_refusal_and_a_source_without_a_way_are_told_apart_from_nobody(tmp_path: Path) -> None:
    world = Keeping(tmp_path)
    world.entry("elastic", FIRST, access=[])
    world.entry("shop", FIRST, access_refused="ask for read_security")
    world.entry("files", FIRST)
    assert rows(world, FIRST) == []
    states = snapshot.states(world.lake, FIRST)
    assert states is not None
    assert {name: (found["state"], found["detail"]) for name, found in states.items()} == {
        "elastic": ("seen", ""), "shop": ("refused", "ask for read_security"), "files": ("not_shown", ""),
    }  # fmt: skip
    assert snapshot.states(world.lake, FIRST + DAY) is None


def test_a_refusal_after_a_snapshot_is_what_stands(tmp_path: Path) -> None:
    world = Keeping(tmp_path)
    world.entry("elastic", FIRST, access=[READ])
    world.entry("elastic", FIRST + DAY, access_refused="no longer")
    assert rows(world, FIRST + DAY) == []


@pytest.mark.parametrize(
    ("line", "approved"),
    [
        (approval("role:audit*", "read"), True),
        (approval("role:auditor", "read", source="elastic"), True),
        (approval("role:auditor", "read", source="shop"), False),
        (approval("role:auditor", "delete"), False),
        (approval("user:*", "read"), False),
        (approval("role:auditor", "read", until=FIRST - DAY), False),
        (approval("role:auditor", "read", until=FIRST), True),
    ],
)
def test_a_grant_is_approved_by_source_principal_right_and_date(tmp_path: Path, line: dict[str, Any], approved: bool) -> None:  # fmt: skip
    world = Keeping(tmp_path, [line])
    world.entry("elastic", FIRST, access=[READ])
    assert rows(world, FIRST) == [("elastic", "role:auditor", "read", approved)]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (approval("*", "read"), "names everybody"),
        (approval("role:a", "own"), "rights are read, write, delete, stop, retention"),
        (approval("role:a", "read", source="elasti"), "no source is named elasti: there are elastic, shop, files"),
        (approval("role:a", "read") | {"unil": "2027-01-01"}, "unil"),
        ({"source": "*"}, "principal"),
    ],
)
def test_a_wrong_line_is_refused_with_the_file(tmp_path: Path, line: dict[str, Any], said: str) -> None:
    world = Keeping(tmp_path, [line])
    with pytest.raises(ConfigError, match=r"approved\.yaml") as raised:
        approvals(world.settings)
    assert said in str(raised.value)


@pytest.mark.parametrize("text", ["{a: 1}", "- [", ""])
def test_a_file_that_is_no_list_is_refused(tmp_path: Path, text: str) -> None:
    world = Keeping(tmp_path, [])
    (tmp_path / "approved.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"approved\.yaml"):
        approvals(world.settings)
