"""The benchmark on labelled logs counts what it says: cases alone on their day, shares by level, findings by rank."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

from benchmarks import labelled

NOON = "2021-07-29T12:00:00Z"


def call(operation: str, minute: int = 0, *, user: str = "ann", **more: Any) -> dict[str, Any]:
    return {
        "eventVersion": "1.08", "eventID": f"{operation}-{user}-{minute}", "eventTime": f"2021-07-29T12:{minute:02}:00Z", "eventName": operation,
        "eventSource": "iam.amazonaws.com", "sourceIPAddress": "192.0.2.1", "recipientAccountId": "111122223333", "readOnly": operation.startswith("List"),
        "userIdentity": {"type": "IAMUser", "userName": user, "accountId": "111122223333"}, **more,
    }  # fmt: skip


def test_each_case_is_measured_alone_and_by_its_worst_level() -> None:
    listing = [
        call(f"List{what}", n)
        for n, what in enumerate(("Users", "Roles", "Groups", "Policies", "AccessKeys", "AccountAliases"))
    ]
    other = [
        call(f"List{what}", 10 + n)
        for n, what in enumerate(("MFADevices", "Tags", "Keys", "Grants", "Topics", "Queues"))
    ]
    cases = {
        "first half": listing,
        "second half": other,
        "whole": [*listing, *other],
        "user": [call("CreateUser")],
        "stop": [call("StopLogging")],
    }
    found = labelled.apart("cloudtrail", cases, "eventTime")
    assert set(found) == {"whole", "user", "stop"}, "two halves on two days explore less than one day with both"
    levels = labelled._worst(found)
    assert (levels["user"], levels["stop"]) == ("informational", "high")
    expected = {"first half": False, "second half": True, "whole": True, "user": False, "stop": True}
    assert labelled.shares(expected, levels) == {True: (2, 2, 3), False: (1, 0, 2)}


def test_days_of_one_cause_are_one_finding_and_the_worst_comes_first(tmp_path: Path) -> None:
    first = dt.date(2021, 7, 29)
    for n in range(2):
        day = first + dt.timedelta(days=n)
        records = [
            labelled.moved(one, day, "eventTime") for one in (call("StopLogging"), call("CreateUser", 1, user="bob"))
        ]
        labelled.write(
            tmp_path / f"logs/{n}.json",
            "cloudtrail",
            [{**one, "eventID": f"{one['eventID']}-{n}"} for one in records],
            day,
        )
    run = labelled.run(tmp_path, "cloudtrail", [first, first + dt.timedelta(days=1)])
    ranked = labelled.findings(tmp_path, first + dt.timedelta(days=1))
    assert (tmp_path / "state.db").is_file(), "decisions lie beside the configuration, and nowhere else"
    assert len(run.detections) == 4
    assert [(one["severity"], one["n"]) for one in ranked] == [("high", 2), ("informational", 2)]
    assert run.uids_of(ranked[0]) == {"StopLogging-ann-0-0", "StopLogging-ann-0-1"}
    assert run.levels["CreateUser-bob-1-0"] == "informational"
