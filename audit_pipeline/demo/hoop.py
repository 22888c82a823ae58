"""The company's hoop.dev gateway: sessions on its connections with their reviews, and what its admins change; no story is about it.

Belongs here: what the gateway holds in the end, one object a line and a file a day. Not here: how it looks at an earlier time and is
asked for (`gateway`), who the company is (`company`). Shapes are those of the gateway's OpenAPI document (`formats.hoop` reads them).
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audit_pipeline.clock import rfc3339
from audit_pipeline.demo import rhythm
from audit_pipeline.demo.company import Actor, Company
from audit_pipeline.demo.files import Files, moment
from audit_pipeline.demo.generate import DayTruth, Story
from audit_pipeline.demo.plot import Plot

NAME = "hoop"
A_DAY, WEEKEND_SHARE = 42, 0.2
"""Sessions and admin acts of a working day, and of them on a day off."""
_ACTS_SHARE = 0.07
_FORCED, _REJECTED, _HIT, _FAILED = 0.012, 0.03, 0.015, 0.05
"""Shares: of the sessions with a review, of those, of all sessions by hand, of all."""
_ROLES = ("sre", "analyst")
_LONG_EVERY, _LONG_S = 10, (20 * 3600, 13 * 3600)
"""So often somebody's session lasts overnight: when it begins, and how long."""
_ORG = str(uuid.uuid5(uuid.NAMESPACE_DNS, "hoop.example.com"))


@dataclass(frozen=True)
class Connection:
    """A way to a system, and the group that reviews what is done on it."""

    name: str
    kind: str
    subtype: str
    env: str
    reviewers: str | None
    weight: float


CONNECTIONS = (
    Connection("orders-db", "database", "postgres", "prod", "dba", 24),
    Connection("payments-db", "database", "postgres", "prod", "dba", 12),
    Connection("payments-shell", "custom", "", "prod", "sre", 6),
    Connection("analytics", "database", "postgres", "reporting", None, 38),
    Connection("staging-db", "database", "mysql", "staging", None, 20),
)
_CHANGES = (("connections", "update", "PUT", "/api/connections/analytics", "analytics"), ("connections", "update", "PUT", "/api/connections/staging-db", "staging-db"), ("resources", "create", "POST", "/api/resources", "orders-replica"), ("data_masking", "update", "PUT", "/api/datamasking-rules/2", "card numbers"))  # fmt: skip


def people_of(company: Company) -> list[Actor]:
    """Who opens sessions and reviews them."""
    return [person for person in company.people if person.role in _ROLES and person.identity == "sso"]


def admins_of(company: Company) -> list[Actor]:
    """Who changes the gateway."""
    return [person for person in company.people if person.role == "admin"]


def mail_of(person: Actor) -> str:
    """The name of a person in the gateway."""
    return person.account if "@" in person.account else f"{person.account}@example.com"


class Hoop:
    """Writes a file a day of what began on it, as it ended."""

    name = NAME
    weekend = WEEKEND_SHARE

    def __init__(self, folder: Path, company: Company, plot: Plot, seed: int) -> None:
        self._files, self._plot, self._seed = Files(folder), plot, seed
        self._people, self._admins = people_of(company), admins_of(company)
        self.stories: list[Story] = []

    @property
    def files(self) -> int:
        """Files written so far."""
        return self._files.count

    def day(self, number: int, day: dt.date, n: int) -> DayTruth:
        """Write one UTC day of about `n` events."""
        rng = np.random.default_rng([self._seed, 13_000_000 + number])
        acts = int(rng.binomial(n, _ACTS_SHARE)) if self._admins else 0
        records = self._sessions(day, n - acts, rng) + [self._act(day, rng) for _ in range(acts)]
        if number % _LONG_EVERY == _LONG_EVERY - 3:
            records.append(self._session(day, float(_LONG_S[0]), self._someone(rng), CONNECTIONS[3], rng, float(_LONG_S[1])))  # fmt: skip
        records.sort(key=lambda one: (one.get("start_date") or one["created_at"], one["id"]))
        lines = [json.dumps(one, ensure_ascii=True, separators=(",", ":")) for one in records]
        self._files.write(f"{day.isoformat()}.jsonl.gz", lines, moment(day, rhythm.DAY_S))
        return DayTruth(day.isoformat(), len(lines), len(lines), 0, 0)

    def close(self) -> None:
        """Nothing waits: each day is written whole."""

    def _someone(self, rng: np.random.Generator) -> Actor:
        return self._people[int(rng.integers(0, len(self._people)))]

    def _sessions(self, day: dt.date, n: int, rng: np.random.Generator) -> list[dict[str, Any]]:
        """Sessions by people in their working hours."""
        weights = np.array([self._plot.calendar.weight(person, day) for person in self._people])
        if not weights.sum():
            return []
        counts = rng.multinomial(n, weights / weights.sum()).tolist()
        odds = np.array([one.weight for one in CONNECTIONS])
        found = []
        for person, count in zip(self._people, counts, strict=True):
            times = rhythm.human_times(person, rhythm.session_start(person, day, rng), count, rng).tolist() if count else []  # fmt: skip
            for at, which in zip(times, rng.choice(len(CONNECTIONS), count, p=odds / odds.sum()).tolist(), strict=True):
                found.append(self._session(day, at + float(rng.random()), person, CONNECTIONS[which], rng))
        return found

    def _session(self, day: dt.date, at: float, person: Actor, connection: Connection, rng: np.random.Generator, lasts: float | None = None) -> dict[str, Any]:  # fmt: skip
        begin = _whole(moment(day, at))
        waited = float(rng.gamma(2.0, 240)) if connection.reviewers else 0.0
        end = begin + dt.timedelta(seconds=waited + (lasts or float(rng.gamma(1.5, 90)) + 1))
        uid = str(uuid.UUID(bytes=rng.bytes(16), version=4))
        review = self._review(begin, waited, person, connection, rng)
        rejected = review is not None and review["status"] == "REJECTED"
        hit = lasts is None and not rejected and rng.random() < _HIT
        code = None if rejected else 1 if hit or rng.random() < _FAILED else 0
        return {
            "id": uid, "org_id": _ORG, "script": {"data": ""}, "script_size": int(rng.integers(20, 900)), "labels": None, "integrations_metadata": None, "metadata": None,
            "metrics": {"event_size": int(rng.integers(100, 40_000))}, "user": mail_of(person), "user_id": person.principal or mail_of(person), "user_name": person.person, "type": connection.kind,
            "connection_subtype": connection.subtype, "connection": connection.name, "resource_name": connection.name, "role_name": connection.name, "connection_tags": {"env": connection.env}, "review": review,
            "verb": "connect" if lasts or connection.kind == "custom" else "exec", "status": "done", "exit_code": code, "event_stream": None, "event_size": 0, "start_date": _text(begin), "end_date": _text(_whole(end)),
            "ai_analysis": None, "guardrails_info": [_GUARDRAIL] if hit else None, "identity_type": "user",
        }  # fmt: skip

    def _review(self, begin: dt.datetime, waited: float, person: Actor, connection: Connection, rng: np.random.Generator) -> dict[str, Any] | None:  # fmt: skip
        if connection.reviewers is None:
            return None
        others = [one for one in self._people if one is not person and one.role == "sre"] or self._people
        other = others[int(rng.integers(0, len(others)))]
        luck = rng.random()
        rejected, forced = luck < _REJECTED, _REJECTED <= luck < _REJECTED + _FORCED
        by = {"id": other.principal or mail_of(other), "name": other.person, "email": mail_of(other), "slack_id": ""}
        group = {
            "id": str(uuid.UUID(bytes=rng.bytes(16), version=4)), "group": connection.reviewers, "status": "REJECTED" if rejected else "APPROVED", "reviewed_by": by,
            "review_date": _text(_whole(begin + dt.timedelta(seconds=waited))), "forced_review": forced,
        }  # fmt: skip
        return {
            "id": str(uuid.UUID(bytes=rng.bytes(16), version=4)), "type": "onetime", "access_duration": 0, "status": "REJECTED" if rejected else "EXECUTED", "revoke_at": None, "created_at": _text(begin),
            "review_groups_data": [group], "time_window": None, "access_request_rule_name": f"{connection.env}-{connection.reviewers}", "min_approvals": 1, "force_approval_groups": ["sre"],
        }  # fmt: skip

    def _act(self, day: dt.date, rng: np.random.Generator) -> dict[str, Any]:
        admin = self._admins[int(rng.integers(0, len(self._admins)))]
        kind, action, method, path, name = _CHANGES[int(rng.integers(0, len(_CHANGES)))]
        at = _whole(moment(day, float(rng.uniform(8, 16) * 3600)))
        return {
            "id": str(uuid.UUID(bytes=rng.bytes(16), version=4)), "org_id": _ORG, "actor_subject": admin.principal or mail_of(admin), "actor_email": mail_of(admin), "actor_name": admin.person, "created_at": _text(at),
            "resource_type": kind, "action": action, "http_method": method, "http_status": 200, "http_path": path, "client_ip": admin.addresses[0], "request_payload_redacted": {"name": name}, "outcome": True, "error_message": "",
        }  # fmt: skip


_GUARDRAIL = {"rule_name": "no delete without where", "rule": {"type": "pattern_match", "pattern_regex": "(?i)delete +from +[a-z_]+ *;"}, "direction": "input", "matched_words": ["DELETE FROM"], "message": "Say which rows."}  # fmt: skip


def _whole(at: dt.datetime) -> dt.datetime:
    """To the millisecond."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def _text(at: dt.datetime) -> str:
    return rfc3339(at)
