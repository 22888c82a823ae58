"""The OCSF 1.8.0 event classes that formats map to (https://schema.ocsf.io/1.8.0/classes), as data.

Belongs here: number, caption, activities, and which attributes of ours a class admits and needs. Not here: which record becomes
which class (the format) or how a nested event is built (`nested`). A test compares every line with the published schema.
"""

from __future__ import annotations

from dataclasses import dataclass

CATEGORIES = {
    0: "Uncategorized",
    1: "System Activity",
    2: "Findings",
    3: "Identity & Access Management",
    4: "Network Activity",
    6: "Application Activity",
}
SEVERITIES = {
    0: "Unknown",
    1: "Informational",
    2: "Low",
    3: "Medium",
    4: "High",
    5: "Critical",
    6: "Fatal",
    99: "Other",
}
STATUSES = {0: "Unknown", 1: "Success", 2: "Failure", 99: "Other"}
PROFILES = {"cloud": frozenset({"cloud", "api"}), "host": frozenset({"actor", "device"})}
"""Profiles that we use, and the attributes that each adds to a class."""
BASE_ATTRIBUTES = frozenset(
    [
        "activity_id",
        "category_uid",
        "class_uid",
        "count",
        "duration",
        "message",
        "metadata",
        "raw_data",
        "severity_id",
        "status_code",
        "status_detail",
        "status_id",
        "time",
        "type_uid",
    ]
)
"""Columns' attributes that every class admits."""


@dataclass(frozen=True)
class EventClass:
    """An OCSF event class."""

    uid: int
    name: str
    activities: dict[int, str]
    attributes: frozenset[str]
    """what it admits beyond `BASE_ATTRIBUTES`, of the attributes that a column may stand in"""
    required: tuple[str, ...] = ()
    """what an event of it must have beyond the base"""
    one_of: tuple[str, ...] = ()
    """of these an event must have one; the first is made up where none is known"""

    @property
    def category_uid(self) -> int:
        """OCSF numbers a class by its category: 3002 is in 3."""
        return self.uid // 1000


def _class(
    uid: int, name: str, activities: str, attributes: str = "", required: str = "", one_of: str = ""
) -> EventClass:
    """`activities` in the order of their numbers from 1; 0 and 99 are the same in every class."""
    named = dict(enumerate(filter(None, activities.split(", ")), 1))
    return EventClass(
        uid,
        name,
        {0: "Unknown", **named, 99: "Other"},
        frozenset(attributes.split()),
        tuple(required.split()),
        tuple(one_of.split()),
    )


_CRUD = "Create, Read, Update, Delete"
_HTTP = "http_request http_response src_endpoint"
_FLOW = "Open, Close, Reset, Fail, Refuse, Traffic, Listen"

CLASSES: dict[int, EventClass] = {
    found.uid: found
    for found in [
        _class(0, "Base Event", ""),
        _class(1001, "File System Activity", "Create, Read, Update, Delete, Rename, Set Attributes, Set Security, Get Attributes, Get Security, Encrypt, Decrypt, Mount, Unmount, Open", "actor device file", "actor device file"),
        _class(1006, "Scheduled Job Activity", "Create, Update, Delete, Enable, Disable, Start", "actor device job", "device job"),
        _class(1007, "Process Activity", "Launch, Terminate, Open, Inject, Set User ID", "actor device exit_code process", "actor device process"),
        _class(1008, "Event Log Activity", "Clear, Delete, Export, Archive, Rotate, Start, Stop, Restart, Enable, Disable", "actor device dst_endpoint file log_name src_endpoint", "", "log_name"),
        _class(2004, "Detection Finding", "Create, Update, Close", "device finding_info resources", "finding_info"),
        _class(3001, "Account Change", "Create, Enable, Password Change, Password Reset, Disable, Delete, Attach Policy, Detach Policy, Lock, MFA Factor Enable, MFA Factor Disable, Unlock", f"actor policy user {_HTTP}", "user"),
        _class(3002, "Authentication", "Logon, Logoff, Authentication Ticket, Service Ticket Request, Service Ticket Renew, Preauth, Account Switch", f"actor auth_protocol dst_endpoint is_mfa is_remote logon_process logon_type service session user {_HTTP}", "user", "service dst_endpoint"),
        _class(3003, "Authorize Session", "Assign Privileges, Assign Groups", f"actor dst_endpoint group privileges session user {_HTTP}", "user", "privileges group"),
        _class(3004, "Entity Management", f"{_CRUD}, Move, Enroll, Unenroll, Enable, Disable, Activate, Deactivate, Suspend, Resume", f"actor entity {_HTTP}", "entity"),
        _class(3005, "User Access Management", "Assign Privileges, Revoke Privileges", f"actor privileges resource resources user {_HTTP}", "privileges user"),
        _class(3006, "Group Management", "Assign Privileges, Revoke Privileges, Add User, Remove User, Delete, Create, Add Subgroup, Remove Subgroup", f"actor group privileges resource user {_HTTP}", "group"),
        _class(4001, "Network Activity", _FLOW, "dst_endpoint src_endpoint", "", "src_endpoint dst_endpoint"),
        _class(4007, "SSH Activity", _FLOW, "dst_endpoint file src_endpoint", "", "src_endpoint dst_endpoint"),
        _class(6001, "Web Resources Activity", f"{_CRUD}, Search, Import, Export, Share", f"dst_endpoint web_resources {_HTTP}", "web_resources"),
        _class(6002, "Application Lifecycle", "Install, Remove, Start, Stop, Restart, Enable, Disable, Update", "app", "app"),
        _class(6003, "API Activity", _CRUD, f"actor api dst_endpoint resources {_HTTP}", "actor api src_endpoint"),
        _class(6005, "Datastore Activity", "Read, Update, Connect, Query, Write, Create, Delete, List, Encrypt, Decrypt", f"actor database databucket dst_endpoint query_info table {_HTTP}", "actor src_endpoint", "database databucket table"),
        _class(6008, "Application Error", "General Error, Translation Error"),
    ]
}  # fmt: skip
