"""The registry says what the published schema says."""

from __future__ import annotations

import pytest

from audit_pipeline.ocsf.classes import BASE_ATTRIBUTES, CATEGORIES, CLASSES, PROFILES, SEVERITIES, STATUSES, EventClass
from audit_pipeline.ocsf.columns import COLUMNS
from audit_pipeline_tests.ocsf.published import OCSF, SCHEMA, class_schema

_KINDS = pytest.mark.parametrize("kind", CLASSES.values(), ids=lambda kind: str(kind.uid))


def _enum(attribute: str) -> dict[int, str]:
    return {int(k): v["caption"] for k, v in SCHEMA["classes"]["base_event"]["attributes"][attribute]["enum"].items()}


@_KINDS
def test_names_and_activities(kind: EventClass) -> None:
    published = SCHEMA["classes"][OCSF.lookup_class_name_from_uid(kind.uid)]
    activities = {int(k): v["caption"] for k, v in published["attributes"]["activity_id"]["enum"].items()}
    assert (kind.name, kind.category_uid, kind.activities) == (
        published["caption"],
        published["category_uid"],
        activities,
    )


@_KINDS
def test_admits_what_the_schema_admits(kind: EventClass) -> None:
    published = set(class_schema(kind.uid)["properties"])
    ours = {column.path.split(".")[0] for column in COLUMNS if column.path}
    assert published & ours == (BASE_ATTRIBUTES | kind.attributes) & ours
    assert kind.attributes <= published


@_KINDS
def test_requires_what_the_schema_requires(kind: EventClass) -> None:
    schema = class_schema(kind.uid)
    base = set(class_schema(0)["required"])
    assert set(schema["required"]) - base == set(kind.required)
    choice = {name for option in schema.get("anyOf", schema.get("oneOf", [])) for name in option["required"]}
    assert set(kind.one_of) <= choice
    assert bool(kind.one_of) == bool(choice)


def test_profiles_captions_categories() -> None:
    for profile, attributes in PROFILES.items():
        assert set(class_schema(0, (profile,))["properties"]) - set(class_schema(0)["properties"]) == attributes
    assert _enum("severity_id") == SEVERITIES
    assert _enum("status_id") == STATUSES
    published = {0: "Uncategorized"} | {c["uid"]: c["caption"] for c in SCHEMA["categories"]["attributes"].values()}
    assert {kind.category_uid for kind in CLASSES.values()} <= set(CATEGORIES)
    assert {uid: published[uid] for uid in CATEGORIES} == CATEGORIES


def test_column_paths_stand_in_the_schema() -> None:
    """Each column's path is an attribute of the object that it names, with the same kind of value."""
    kinds = {
        "string": "string",
        "int32": "integer",
        "int64": "integer",
        "bool": "boolean",
        "timestamp[us, tz=UTC]": "integer",
    }
    for column in COLUMNS:
        if not column.path:
            continue
        homes = [
            found
            for uid in CLASSES
            for profiles in ((), ("cloud",), ("host",))
            if (found := _resolve(class_schema(uid, profiles), column.path.split("."))) is not None
        ]
        assert homes, column.path
        assert all(found["type"] == kinds[str(column.kind)] for found in homes), column.path


def _resolve(schema: dict, path: list[str]) -> dict | None:  # type: ignore[type-arg]
    node, defs = schema, schema.get("$defs", {})
    for step in path:
        found = node.get("properties", {}).get(step)
        if found is None:
            return None
        found = found.get("items", found) if found.get("type") == "array" else found
        node = defs[found["$ref"].rsplit("/", 1)[1]] if "$ref" in found else found
    return node
