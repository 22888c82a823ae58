"""Linux sign-in logs to OCSF: stamps without year and zone, who tried what, hostile names, repeated messages."""

from __future__ import annotations

import collections
import datetime as dt
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_pipeline.errors import UsageError
from audit_pipeline.formats import open_format
from audit_pipeline.formats.linux_auth import FORMAT, LinuxAuth
from audit_pipeline.formats.parse import Parsed, parse
from audit_pipeline_tests.ocsf.published import faults

_SHARED = Path(os.environ.get("AUDIT_PIPELINE_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))


def _parse(*lines: str, year: int | None = 2026, zone: str = "UTC") -> Parsed:
    return parse("linux_auth", "\n".join(lines).encode("utf-8", "surrogateescape"), mode="flat", year=year, zone=zone)


def _rows(*messages: str, program: str = "sshd[7]") -> list[dict[str, Any]]:
    parsed = _parse(*(f"Mar  1 10:00:{n:02} web1 {program}: {message}" for n, message in enumerate(messages)))
    assert parsed.rejects == []
    return [json.loads(line) for line in parsed.lines]


_LINES: list[tuple[str, str, tuple[Any, ...]]] = [
    # program, message, (event code, type_uid, status, user, actor, address, group, count)
    ("sshd[1]", "Failed password for root from 192.0.2.1 port 1786 ssh2", ("ssh_failed", 300201, 2, "root", None, "192.0.2.1", None, 1)),
    ("sshd[1]", "Failed password for invalid user admin from 2001:db8::7 port 22 ssh2", ("ssh_failed", 300201, 2, "admin", None, "2001:db8::7", None, 1)),
    ("sshd-session[1]", "Accepted publickey for ann from 192.0.2.1 port 5 ssh2: ED25519 SHA256:Abc+/=", ("ssh_accepted", 300201, 1, "ann", None, "192.0.2.1", None, 1)),
    ("sshd[1]", "message repeated 5 times: [ Failed password for root from 192.0.2.1 port 22 ssh2]", ("ssh_failed", 300201, 2, "root", None, "192.0.2.1", None, 5)),
    ("sshd[1]", "Invalid user oracle from 192.0.2.1 port 22", ("ssh_invalid_user", 300299, 2, "oracle", None, "192.0.2.1", None, 1)),
    ("sshd[1]", "PAM 4 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.1  user=root", ("pam_failures", 300299, 2, "root", None, "192.0.2.1", None, 4)),
    ("sshd[1]", "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.1  user=root", ("pam_failure", 300299, 2, "root", None, "192.0.2.1", None, 1)),
    ("sshd(pam_unix)[9]", "authentication failure; logname= uid=0 euid=0 tty=NODEVssh ruser= rhost=192.0.2.1 ", ("pam_failure", 300201, 2, None, None, "192.0.2.1", None, 1)),
    ("login", "pam_unix(login:auth): authentication failure; logname=LOGIN uid=0 euid=0 tty=tty1 ruser= rhost=  user=ann", ("pam_failure", 300201, 2, "ann", None, None, None, 1)),
    ("sshd[1]", "Connection closed by authenticating user root 192.0.2.1 port 22 [preauth]", ("ssh_closed", 400702, 0, "root", None, "192.0.2.1", None, 1)),
    ("sshd[1]", "Received disconnect from 192.0.2.1: 11: Bye Bye [preauth]", ("ssh_closed", 400702, 0, None, None, "192.0.2.1", None, 1)),
    ("sshd[1]", "Server listening on 0.0.0.0 port 22.", ("ssh_listening", 400707, 1, None, None, None, None, 1)),
    ("sudo", "   ann : TTY=pts/0 ; PWD=/home/ann ; USER=root ; COMMAND=/bin/cat /etc/shadow", ("sudo_command", 300207, 1, "root", "ann", None, None, 1)),
    ("sudo", "   ann : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/home/ann ; USER=root ; COMMAND=/bin/sh", ("sudo_failed", 300207, 2, "root", "ann", None, None, 3)),
    ("sudo", "   bob : user NOT in sudoers ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh", ("sudo_refused", 300207, 2, "root", "bob", None, None, 1)),
    ("su[4]", "(to root) ann on pts/0", ("su_switched", 300207, 1, "root", "ann", None, None, 1)),
    ("su[4]", "FAILED SU (to root) ann on pts/0", ("su_failed", 300207, 2, "root", "ann", None, None, 1)),
    ("su[4]", "pam_unix(su:session): session opened for user root(uid=0) by ann(uid=1000)", ("session_opened", 300299, 1, "root", "ann", None, None, 1)),
    ("su[4]", "pam_unix(su-l:auth): authentication failure; logname=ann uid=1000 euid=0 tty=pts/0 ruser=ann rhost=  user=root", ("pam_failure", 300299, 2, "root", "ann", None, None, 1)),
    ("su(pam_unix)[4]", "session opened for user news by (uid=0)", ("su_switched", 300207, 1, "news", None, None, None, 1)),
    ("CRON[4]", "pam_unix(cron:session): session closed for user root", ("session_closed", 300202, 1, "root", None, None, None, 1)),
    ("CRON[4]", "(root) CMD (run-parts /etc/cron.hourly)", ("cron_started", 100606, 1, None, "root", None, None, 1)),
    ("useradd[4]", "new user: name=eve, UID=1001, GID=1001, home=/home/eve, shell=/bin/bash, from=none", ("user_added", 300101, 1, "eve", None, None, None, 1)),
    ("usermod[4]", "add 'eve' to group 'sudo'", ("group_member_added", 300603, 1, "eve", None, None, "sudo", 1)),
    ("gpasswd[4]", "user eve removed by root from group sudo", ("group_member_removed", 300604, 1, "eve", "root", None, "sudo", 1)),
    ("groupadd[4]", "group added to /etc/group: name=ops, GID=1002", ("group_added", 300606, 1, None, None, None, "ops", 1)),
    ("userdel[4]", "delete user 'eve'", ("user_deleted", 300106, 1, "eve", None, None, None, 1)),
    ("userdel[4]", "removed group 'eve' owned by 'eve'", ("group_deleted", 300605, 1, None, None, None, "eve", 1)),
    ("usermod[4]", "lock user 'eve' password", ("user_locked", 300109, 1, "eve", None, None, None, 1)),
    ("passwd[4]", "pam_unix(passwd:chauthtok): password changed for ann", ("password_changed", 300103, 1, "ann", None, None, None, 1)),
    ("chage[4]", "changed password expiry for ann", ("user_changed", 300199, 1, "ann", None, None, None, 1)),
    ("systemd-logind[4]", "New session 3 of user ann.", ("session_opened", 300299, 1, "ann", None, None, None, 1)),
    ("kernel", "eth0: link up", (None, 0, 0, None, None, None, None, 1)),
]  # fmt: skip


def test_each_kind_of_line() -> None:
    parsed = _parse(*(f"Mar  1 10:00:00 web1 {program}: {message}" for program, message, _ in _LINES))
    rows = [json.loads(line) for line in parsed.lines]
    got = [
        tuple(row[c] for c in ("metadata_event_code", "type_uid", "status_id", "user_name", "actor_user_name", "src_endpoint_ip", "group_name", "count"))
        for row in rows
    ]  # fmt: skip
    assert dict(zip([m for _, m, _ in _LINES], got, strict=True)) == {m: want for _, m, want in _LINES}
    assert {row["device_hostname"] for row in rows} == {"web1"}
    assert [row["message"].strip() for row in rows] == [message.strip() for _, message, _ in _LINES]


def test_each_kind_of_line_is_valid_ocsf() -> None:
    data = "\n".join(f"Mar  1 10:00:00 web1 {program}: {message}" for program, message, _ in _LINES).encode()
    events = [json.loads(line) for line in parse("linux_auth", data, year=2026).lines]
    assert {event["message"]: faults(event) for event in events if faults(event)} == {}
    assert len(events) == len(_LINES)


_HOSTILE = ["x from 203.0.113.9 port 1 ssh2", "a b", "root from 203.0.113.9", "'; DROP TABLE events; --", "<script>", "user y", "[preauth]", "\u00fc\u202e"]  # fmt: skip


def test_a_hostile_name_does_not_choose_its_address() -> None:
    said = ["Failed password for invalid user {} from 192.0.2.1 port 22 ssh2", "Invalid user {} from 192.0.2.1 port 22", "Accepted password for {} from 192.0.2.1 port 22 ssh2"]  # fmt: skip
    rows = _rows(*(text.format(name) for name in _HOSTILE for text in said))
    assert {row["src_endpoint_ip"] for row in rows} == {"192.0.2.1"}
    assert [row["user_name"] for row in rows] == [name for name in _HOSTILE for _ in said]
    assert [row["status_id"] for row in rows] == [2, 2, 1] * len(_HOSTILE)


_NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029\x85"), min_size=1, max_size=30
)


_SAFE = _NAMES.filter(lambda n: n.strip() == n and not re.match(r"(?:invalid|illegal) user ", n))


@given(names=st.lists(_SAFE, min_size=10, max_size=20))
@settings(max_examples=4, deadline=None)
def test_any_name_is_read_back(names: list[str]) -> None:
    rows = _rows(
        *(f"Failed password for invalid user {name} from 192.0.2.1 port {n} ssh2" for n, name in enumerate(names))
    )
    assert [row["user_name"] for row in rows] == names
    assert {(row["src_endpoint_ip"], row["type_uid"]) for row in rows} == {("192.0.2.1", 300201)}


_BYTES = st.binary(max_size=60).map(lambda b: b.replace(b"\n", b""))
_SOME = st.sampled_from([b"Mar  1 10:00:00 h sshd[1]: x", b"  at java.lang", b"Feb 30 10:00:00 h a: b"])


@given(st.lists(_BYTES | _SOME | _BYTES.map(lambda b: b"Mar  1 10:00:00 h sudo: " + b), min_size=5, max_size=30))
@settings(max_examples=4, deadline=None)
def test_whatever_the_bytes_every_line_is_an_event_or_a_reject(lines: list[bytes]) -> None:
    lines = [b"Mar  1 10:00:00 h first: line", *lines]  # no magic number of a compressed file
    parsed = parse("linux_auth", b"\n".join(lines), year=2026)
    there = sum(bool(line.removesuffix(b"\r").strip()) for line in lines)
    assert len(list(parsed.lines)) + len(parsed.rejects) + parsed.duplicates == there
    assert all(reject.detail for reject in parsed.rejects)


def test_the_same_line_twice_is_two_events_and_the_same_file_again_none_more() -> None:
    line = b"Mar  1 10:00:00 h sshd[1]: Failed password for root from 192.0.2.1 port 22 ssh2"
    first, again = FORMAT.keys([line, line]).key, FORMAT.keys([line, line]).key
    assert len(set(first)) == 2
    assert first == again


def _times(*stamps: str, form: LinuxAuth, visible: str | None = None) -> list[str | None]:
    moment = dt.datetime.fromisoformat(visible) if visible else None
    keys = form.keys([f"{stamp} h sshd[1]: x".encode() for stamp in stamps], moment)
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return [
        None if t is None else (epoch + dt.timedelta(microseconds=t)).isoformat().replace("+00:00", "Z")
        for t in keys.time_us
    ]


@pytest.mark.parametrize(
    ("stamps", "visible", "years"),
    [
        (["Jan  5 10:00:00"], "2026-01-06T00:00:00+00:00", [2026]),
        (["Jan  5 10:00:00"], "2026-01-04T11:00:00+00:00", [2026]),  # a clock that is ahead by less than a day
        (["Jan  5 10:00:00"], "2026-01-04T09:00:00+00:00", [2025]),
        (["Dec 31 23:59:59", "Jan  1 00:00:01"], "2026-01-01T00:05:00+00:00", [2025, 2026]),
        (["Nov 30 00:00:00", "Dec 31 23:59:59"], "2026-01-01T00:05:00+00:00", [2025, 2025]),
        (["Dec 31 23:59:59", "Jan  1 00:00:01", "Dec 31 23:59:58", "Jan  1 00:00:02"], "2026-01-01T00:05:00+00:00", [2025, 2026, 2025, 2026]),
        (["Feb 29 10:00:00"], "2027-05-01T00:00:00+00:00", [2024]),
        (["Mar  1 10:00:00", "Jul  1 10:00:00", "Mar  1 10:00:00"], "2026-08-01T00:00:00+00:00", [2025, 2025, 2026]),
        (["Mar  1 10:00:00", "Oct  1 10:00:00", "Mar  1 10:00:00"], "2026-08-01T00:00:00+00:00", [2025, 2025, 2026]),
    ],
)  # fmt: skip
def test_the_year_by_the_file_s_time(stamps: list[str], visible: str, years: list[int]) -> None:
    assert [t and int(t[:4]) for t in _times(*stamps, form=FORMAT, visible=visible)] == years


def test_a_configured_year_is_that_of_the_first_line() -> None:
    form = LinuxAuth(2005)
    assert _times("Dec 31 23:59:59", "Jan  1 00:00:00", form=form, visible="2026-01-01T00:00:00+00:00") == ["2005-12-31T23:59:59Z", "2006-01-01T00:00:00Z"]  # fmt: skip


def test_without_year_and_file_time_the_line_is_a_reject_that_says_what_to_do() -> None:
    parsed = _parse("Mar  1 10:00:00 h sshd[1]: x", "2026-03-01T10:00:00Z h sshd[1]: x", year=None)
    (reject,) = parsed.rejects
    assert (reject.line, reject.reason) == (0, "no_time")
    assert "--year" in reject.detail
    assert parsed.events == 1


def test_zones_and_the_hour_that_occurs_twice() -> None:
    form = LinuxAuth(2026, "Europe/Berlin")
    assert _times("Jul  1 12:00:00", "Oct 25 02:10:00", "Oct 25 02:59:59", "Oct 25 02:58:00", "Oct 25 02:00:01", "Oct 25 02:59:59", "Oct 25 03:00:00", form=form) == [
        "2026-07-01T10:00:00Z", "2026-10-25T00:10:00Z", "2026-10-25T00:59:59Z", "2026-10-25T00:58:00Z", "2026-10-25T01:00:01Z", "2026-10-25T01:59:59Z", "2026-10-25T02:00:00Z",
    ]  # fmt: skip
    assert _times("Mar 29 01:59:59", "Mar 29 03:00:00", form=form) == ["2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z"]


@pytest.mark.parametrize(
    ("stamp", "time"),
    [
        ("2026-03-01T10:00:00.123456+01:00", "2026-03-01T09:00:00.123456Z"),
        ("2026-03-01T10:00:00Z", "2026-03-01T10:00:00Z"),
        ("2026-03-01T10:00:00", "2026-03-01T09:00:00Z"),  # no zone: the configured one
        ("<38>Mar  1 10:00:00", "2026-03-01T09:00:00Z"),
        ("Mar 01 10:00:00.25", "2026-03-01T09:00:00.250000Z"),
        ("Feb 30 10:00:00", None),
        ("Mar  1 25:00:00", None),
    ],
)
def test_stamps(stamp: str, time: str | None) -> None:
    assert _times(stamp, form=LinuxAuth(2026, "Europe/Berlin")) == [time]


def test_settings_are_checked_and_told() -> None:
    with pytest.raises(UsageError, match="Europe/Berlin"):
        LinuxAuth(zone="Mars/Olympus")
    with pytest.raises(UsageError, match="--mapping"):
        open_format("linux_auth", mapping=Path("x.yaml"))
    variants = {open_format("linux_auth", year=year, zone=zone).variant for year in (None, 2025, 2026) for zone in ("UTC", "Asia/Tokyo")}  # fmt: skip
    assert len(variants) == 6


def _shared(*parts: str) -> bytes:
    path = _SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip("shared data is absent")
    return path.read_bytes()


def test_a_server_under_guessing_counted_another_way() -> None:
    data = _shared("auth_ubuntu_compromised", "auth.log.1")
    text = data.decode("utf-8", "replace")
    repeated = sum(int(n) for n in re.findall(r"message repeated (\d+) times: \[ Failed password", text))
    single = len(re.findall(r"\]: Failed password", text))
    parsed = parse("linux_auth", data, mode="flat", year=2017)
    rows = [json.loads(line) for line in parsed.lines]
    failed = [row for row in rows if (row["type_uid"], row["status_id"]) == (300201, 2)]
    assert sum(row["count"] for row in failed) == single + repeated == 7985
    assert all(row["user_name"] and row["src_endpoint_ip"] for row in failed)
    assert sum(row["metadata_event_code"] == "ssh_listening" for row in rows) == text.count("Server listening on") == 1088  # fmt: skip
    assert sum(row["class_uid"] == 0 for row in rows) == 0
    assert [reject.line for reject in parsed.rejects] == [0]  # the shell's prompt, above the log
    assert len(rows) + 1 == text.count("\n")
    assert collections.Counter(row["day"] for row in rows) == {
        "2017-02-19": 10743,
        "2017-02-20": 10495,
    }  # cut -c1-6 | uniq -c


def test_an_old_server_counted_another_way() -> None:
    data = _shared("linux_messages_loghub", "Linux.log")
    text = data.decode("utf-8", "replace")
    parsed = parse("linux_auth", data, mode="flat", year=2005)
    rows = [json.loads(line) for line in parsed.lines]
    assert parsed.rejects == []
    assert len(rows) + parsed.duplicates == sum(bool(line.strip()) for line in text.split("\n"))
    alone = len(re.findall(r"\(pam_unix\)\[\d+\]: authentication failure;", text))
    assert sum(row["metadata_event_code"] == "pam_failure" for row in rows) == alone
    signs_in = [row for row in rows if (row["api_service_name"] or "") in ("sshd", "su", "login")]
    assert sum(row["class_uid"] == 0 for row in signs_in) == 0
    assert {row["time"][:4] for row in rows} == {"2005"}
