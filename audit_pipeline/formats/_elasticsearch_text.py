"""The text audit log of Elasticsearch 6.x (`*_access.log`) as the fields of the JSON log that followed it; used by `elasticsearch_audit`.

Belongs here: cutting a line. Not here: what fields mean. Source: elastic.co, "Logfile audit output" of 6.x: `[timestamp] [node] [layer] [entry type]`
and attributes `name=[value]`, of which the node's name may be left out. Times have no zone and are taken as UTC; the line stays as `message`.
"""

from __future__ import annotations

import json
import re

from audit_pipeline.formats.base import Damage, Split
from audit_pipeline.formats.records import MAX_DAMAGE

_LINE = re.compile(
    r"\[(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)[,.](\d{1,9})\]\s+(?:\[([^\]]*)\]\s+)?\[(rest|transport|ip_filter)\]\s+\[([a-z_]+)\]\s*(.*)", re.DOTALL
)  # fmt: skip
_PAIR = re.compile(r"(\w+)=\[(.*?)\](?=, \w+=\[|\s*\Z)", re.DOTALL)
_NAMES = {
    "origin_address": "origin.address", "origin_type": "origin.type", "principal": "user.name", "realm": "user.realm", "uri": "url.path", "action": "action",
    "request": "request.name", "rule": "rule", "run_by_principal": "user.run_by.name", "run_as_principal": "user.run_as.name", "method": "request.method",
}  # fmt: skip
_LONGEST = 2**16
"""Characters of a line in which attributes are looked for: a request's body may be of any length."""


def is_text(head: bytes) -> bool:
    """Whether a file that begins so is the text log."""
    return re.match(rb"\s*\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", head) is not None


def split_text(data: bytes, whole: bool) -> Split:
    """One JSON record a line; what is no entry is named with its place."""
    found, at = Split(), 0
    for line in data.splitlines(keepends=True):
        if line.strip() and (record := _record(line)) is not None:
            found.records.append(record)
        elif line.strip():
            cut = not whole and at + len(line) == len(data)
            found.damaged.append(Damage(at, "truncated" if cut else "not_a_record", "no entry of the text audit log", line[:MAX_DAMAGE]))  # fmt: skip
        at += len(line)
    return found


def _record(line: bytes) -> bytes | None:
    text = line.decode("utf-8", "replace").strip()
    match = _LINE.match(text)
    if match is None:
        return None
    stamp, part, node, layer, kind, rest = match.groups()
    fields: dict[str, object] = {"type": "audit", "timestamp": f"{stamp}.{part[:6]}Z", "event.type": layer, "event.action": kind}  # fmt: skip
    if node:
        fields["node.name"] = node
    for name, value in _PAIR.findall(rest[:_LONGEST]):
        if name in _NAMES:
            fields[_NAMES[name]] = value
        elif name == "indices":
            fields["indices"] = value.split(",")
    return json.dumps({**fields, "message": text}, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
