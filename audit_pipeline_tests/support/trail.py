"""Small CloudTrail logs with the vendor's file names and layout, always the same bytes.

Belongs here: records and files. Not here: configuration (`project`).
"""

from __future__ import annotations

import datetime as dt
import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from audit_pipeline.clock import UTC, midnight

ACCOUNT, REGION = "123456789012", "eu-central-1"
DAYS = [dt.date(2025, 6, 2) + dt.timedelta(days=n) for n in range(3)]
"""The days of `write_days`; the second has a burst of refused sign-ins, and some of its records are delivered on the third."""
VICTIM = "erin"


def record(event_id: str, time: dt.datetime, user: str = "alice", **changes: Any) -> dict[str, Any]:
    """One record of an IAM user's call."""
    return {
        "eventVersion": "1.10",
        "userIdentity": {
            "type": "IAMUser",
            "principalId": "AIDAEXAMPLE",
            "arn": f"arn:aws:iam::{ACCOUNT}:user/{user}",
            "accountId": ACCOUNT,
            "userName": user,
        },
        "eventTime": f"{time:%Y-%m-%dT%H:%M:%SZ}",
        "eventSource": "ec2.amazonaws.com",
        "eventName": "DescribeInstances",
        "awsRegion": REGION,
        "sourceIPAddress": "198.51.100.7",
        "userAgent": "aws-cli/2.15",
        "requestParameters": None,
        "responseElements": None,
        "eventID": event_id,
        "readOnly": True,
        "eventType": "AwsApiCall",
        "recipientAccountId": ACCOUNT,
        **changes,
    }


def refused(event_id: str, time: dt.datetime, user: str = VICTIM, **changes: Any) -> dict[str, Any]:
    """One refused sign-in at the console."""
    sign_in = {
        "eventSource": "signin.amazonaws.com",
        "eventName": "ConsoleLogin",
        "eventType": "AwsConsoleSignIn",
        "readOnly": False,
        "errorMessage": "Failed authentication",
        "responseElements": {"ConsoleLogin": "Failure"},
    }
    return record(event_id, time, user, **{**sign_in, **changes})


def burst(event_id: str, start: dt.datetime, user: str = VICTIM, n: int = 12, **changes: Any) -> list[dict[str, Any]]:
    """Enough refused sign-ins in a few minutes for the shipped rule."""
    return [refused(f"{event_id}-{i}", start + dt.timedelta(seconds=20 * i), user, **changes) for i in range(n)]


def name(delivered: dt.datetime, tail: str) -> str:
    """The vendor's name of an object, below the bucket."""
    folder = f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/{delivered:%Y/%m/%d}"
    return f"{folder}/{ACCOUNT}_CloudTrail_{REGION}_{delivered:%Y%m%dT%H%MZ}_{tail}.json.gz"


def document(records: Iterable[dict[str, Any] | str]) -> bytes:
    """The text of a file; a record given as text stands in it as it is."""
    texts = [one if isinstance(one, str) else json.dumps(one, separators=(",", ":")) for one in records]
    return ('{"Records":[' + ",".join(texts) + "]}").encode("utf-8", "surrogatepass")


def write(folder: Path, delivered: dt.datetime, records: Iterable[dict[str, Any] | str], tail: str) -> Path:
    """Write one delivered file."""
    file = folder / name(delivered, tail)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(document(records), 1, mtime=0))
    return file


def write_days(folder: Path, days: Iterable[dt.date] = DAYS, prefix: str = "") -> int:
    """One file an hour with eight records, delivered ten minutes later; returns how many records there are.

    Two records of each day's noon come a day late (but for the last of `DAYS`), and the second of `DAYS` has a burst of refused sign-ins.
    """
    written = 0
    for day in days:
        for hour in range(24):
            begin = midnight(day) + dt.timedelta(hours=hour)
            people = ("alice", "bob", "carol", "dave")
            found = [
                record(f"{prefix}{day}-{hour:02}-{i}", begin + dt.timedelta(minutes=7 * i), people[(hour + i) % 4])
                for i in range(8)
            ]
            if hour == 9 and day == DAYS[1]:
                found += burst(f"{prefix}{day}-burst", begin + dt.timedelta(minutes=20))
            late = found[6:8] if hour == 12 and day != DAYS[-1] else []
            prompt = [one for one in found if one not in late]
            write(folder, begin + dt.timedelta(minutes=65), prompt, f"{prefix}File{hour:012}")
            if late:
                write(folder, begin + dt.timedelta(days=1, minutes=70), late, f"{prefix}Late{hour:012}")
            written += len(found)
    return written


def at(day: dt.date, hour: int, minute: int = 0) -> dt.datetime:
    """A moment of a UTC day."""
    return dt.datetime.combine(day, dt.time(hour, minute), UTC)
