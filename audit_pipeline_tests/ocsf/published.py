"""The published OCSF 1.8.0 schema as a judge."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jsonschema
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

SCHEMA = get_ocsf_schema("1.8.0")
OCSF = OcsfJsonSchemaEmbedded(SCHEMA)


@functools.cache
def class_schema(uid: int, profiles: tuple[str, ...] = ()) -> Any:
    return OCSF.get_class_schema(OCSF.lookup_class_name_from_uid(uid), list(profiles))


@functools.cache
def _validator(uid: int, profiles: tuple[str, ...]) -> Any:
    return jsonschema.Draft202012Validator(class_schema(uid, profiles))


def faults(event: Mapping[str, Any]) -> list[str]:
    """What the schema has against an event."""
    validator = _validator(event["class_uid"], tuple(event["metadata"].get("profiles", [])))
    return [f"{error.json_path} {error.message[:200]}" for error in validator.iter_errors(event)]
