"""Which names may be printed: those of accounts, never what only failed to sign in."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa
import pytest

from audit_pipeline.lake.tables import TABLES
from audit_pipeline.privacy import UNLISTED, shown_names
from audit_pipeline.privacy.names import concealer, failed_names

TYPED = "Hunter2!secret"
NAMES = ("class_uid", "status_id", "http_response_code", "user_name", "actor_user_name", "x_actor")


def event(**values: Any) -> dict[str, Any]:
    return {"class_uid": 3002, "status_id": 2, **values}


def connection(
    *events: dict[str, Any], listed: list[tuple[str, str | None]] | None = None
) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    schema = pa.schema([TABLES["events"].schema.field(name) for name in NAMES])
    rows = [{name: one.get(name) for name in NAMES} for one in events]
    con.register("events", pa.Table.from_pylist(rows, schema=schema))
    if listed is not None:
        table = pa.table({"account": [one[0] for one in listed], "person": [one[1] for one in listed]})
        con.register("identities", table)
    return con


def shown(con: duckdb.DuckDBPyConnection) -> frozenset[str]:
    return shown_names(con, failed_names(con))


def test_what_only_failed_is_not_shown() -> None:
    con = connection(event(user_name=TYPED, actor_user_name=TYPED, x_actor=TYPED), event(user_name="mallory"))
    assert failed_names(con) == {TYPED, "mallory"}
    assert shown(con) == frozenset()


@pytest.mark.parametrize(
    "success",
    [
        event(status_id=1, user_name="alice"),
        event(status_id=1, x_actor="alice"),
        {"class_uid": 6003, "status_id": 1, "actor_user_name": "alice"},
    ],
)
def test_who_once_succeeded_is_an_account(success: dict[str, Any]) -> None:
    con = connection(event(user_name="alice"), event(user_name=TYPED), success)
    assert shown(con) == {"alice"}


@pytest.mark.parametrize(
    "other",
    [
        {"class_uid": 6003, "status_id": 2, "actor_user_name": TYPED},
        {"class_uid": 3001, "status_id": 1, "user_name": TYPED},
        event(status_id=None, user_name=TYPED),
    ],
    ids=["a failed act", "acted on by somebody else", "outcome unknown"],
)
def test_what_proves_no_account(other: dict[str, Any]) -> None:
    assert shown(connection(event(user_name=TYPED), other)) == frozenset()


def test_the_inventory_knows_accounts_and_persons() -> None:
    con = connection(
        event(user_name="svc"),
        event(user_name="Ada L."),
        event(user_name=TYPED),
        listed=[("svc", "Ada L."), ("x", None)],
    )
    assert shown(con) == {"svc", "Ada L."}


def test_an_unauthorised_request_is_a_failed_sign_in_too() -> None:
    con = connection({"class_uid": 4002, "status_id": 2, "http_response_code": 401, "actor_user_name": TYPED})
    assert failed_names(con) == {TYPED}


def test_names_are_data_and_no_sql() -> None:
    name = "x') OR 1=1 --"
    con = connection(event(user_name=name), event(status_id=1, user_name="alice"))
    assert shown_names(con, [name]) == frozenset()
    assert shown_names(con, []) == frozenset()


def test_hidden_names_stay_apart_and_secrets_are_masked() -> None:
    conceal = concealer([TYPED, "hunter3"], b"k" * 32)
    first, second = conceal(TYPED), conceal("hunter3")
    assert first.startswith(UNLISTED + " user-")
    assert first != second
    assert conceal("alice") == "alice"
    assert conceal("token=abc") != conceal("token=abd")
    assert "abc" not in conceal("token=abc")
