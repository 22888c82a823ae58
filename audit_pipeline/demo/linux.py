"""auth.log of the company's hosts: RFC 3164 lines of sshd, sudo, cron, PAM and useradd, in local time and without a zone, as hosts write them.

Belongs here: lines and rotation of `linux_auth`. Not here: who the company is (`company`), or which days are special (`plot`).
Each host rotates at 03:30 local time to `<host>/auth.log-YYYYMMDD.gz`, so a file holds parts of two UTC days, and on the day on which
clocks go back its hour from 02:00 to 03:00 twice.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from pathlib import Path

import numpy as np

from audit_pipeline.clock import DAY, rfc3339
from audit_pipeline.demo import rhythm
from audit_pipeline.demo.calendar import local, offset
from audit_pipeline.demo.company import Actor, Company
from audit_pipeline.demo.files import Files, moment
from audit_pipeline.demo.generate import DayTruth, Story
from audit_pipeline.demo.planted import HostLine
from audit_pipeline.demo.plot import HOSTS, LATE_DAYS, Plot

NAME = "linux"
WEEKEND_SHARE = 0.75
TYPED_PASSWORD = "Winter2024!"  # noqa: S105 - what somebody types where a name belongs
_ROTATES = (3, 30)
_OPEN = ("bastion-01", "mail-01", "vpn-01")
"""Hosts that the internet can reach."""
_CRON_SHARE, _GUESS_SHARE, _ROBOT_SHARE = 0.4, 0.22, 0.12
_GUESSED = ("admin", "test", "oracle", "postgres", "ubuntu", "git", "user", "ftpuser", "guest", "pi", "deploy", "hadoop", "nagios", "jenkins", "www", "support", "es", "minecraft")  # fmt: skip
_COMMANDS = ("/usr/bin/systemctl restart nginx", "/usr/bin/journalctl -u sshd --since today", "/usr/bin/apt-get update", "/usr/bin/tail -n 200 /var/log/syslog", "/usr/bin/systemctl status postgresql", "/usr/bin/ls /root", "/usr/bin/docker ps")  # fmt: skip
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_ROLES = ("sre", "admin", "engineer")

Line = tuple[float, str]
"""Seconds since the UTC day's midnight (fractions order lines of one second), and the text after the stamp."""


def account_of(actor: Actor) -> str:
    """The name that a person has on the hosts."""
    return actor.account.split("@")[0]


def people_of(company: Company) -> list[Actor]:
    """Who may sign in on hosts."""
    return [person for person in company.people if person.role in _ROLES]


class Linux:
    """Writes a file a host and day; lines after the last rotation wait for the next day's."""

    name = NAME
    weekend = WEEKEND_SHARE

    def __init__(self, folder: Path, company: Company, plot: Plot, seed: int) -> None:
        self._files, self._plot, self._seed = Files(folder), plot, seed
        self._people = people_of(company)
        self._keys = {person.account: _key(person) for person in self._people}
        self._waiting: dict[str, list[str]] = {host: [] for host in HOSTS}
        self._held = 0
        self.stories: list[Story] = []

    @property
    def files(self) -> int:
        """Files written so far."""
        return self._files.count

    def day(self, number: int, day: dt.date, n: int) -> DayTruth:
        """Write what is rotated on one UTC day of about `n` lines."""
        rng = np.random.default_rng([self._seed, 6_000_000 + number])
        lines: dict[str, list[Line]] = {host: [] for host in HOSTS}
        self._cron(lines, int(n * _CRON_SHARE), rng)
        self._robots(lines, int(n * _ROBOT_SHARE), rng)
        self._guesses(lines, int(n * _GUESS_SHARE), rng)
        self._sessions(lines, day, int(n * (1 - _CRON_SHARE - _ROBOT_SHARE - _GUESS_SHARE)), rng)
        self._special(lines, day)
        self._planted(lines, day)
        rotated = local(day, *_ROTATES)
        cut = (rotated - moment(day, 0)).total_seconds()
        stamps = _Stamps(day)
        late = 0
        for host, found in lines.items():
            found.sort()
            texts = [(at, f"{stamps.of(at)} {host} {text}") for at, text in found]
            self._waiting[host] += [text for at, text in texts if at < cut]
            visible = rotated
            if self._plot.late is not None and host == self._plot.late_host and day in (self._plot.late, self._plot.late + DAY):  # fmt: skip
                visible, late = self._held_back(day, host, rotated, [at for at, _ in texts], cut, late)
            self._files.write(f"{host}/auth.log-{day:%Y%m%d}.gz", self._waiting[host], visible)
            self._waiting[host] = [text for at, text in texts if at >= cut]
        total = sum(map(len, lines.values()))
        return DayTruth(day.isoformat(), total, total, late, late)

    def close(self) -> None:
        """Write what waits for the rotation after the last day."""
        day = self._plot.last + DAY
        for host, texts in self._waiting.items():
            self._files.write(f"{host}/auth.log-{day:%Y%m%d}.gz", texts, local(day, *_ROTATES))

    def _held_back(self, day: dt.date, host: str, rotated: dt.datetime, times: list[float], cut: float, late: int) -> tuple[dt.datetime, int]:  # fmt: skip
        """The file that was rotated after the story's day comes `LATE_DAYS` later; what was rotated on the day itself is in time."""
        if day == self._plot.late:
            self._held = sum(at >= cut for at in times)
            return rotated, late + self._held
        rest, first = sum(at < cut for at in times), local(day - DAY, *_ROTATES)
        self.stories.append(Story("late_delivery", (day - DAY).isoformat(), rfc3339(first), rfc3339(rotated), self._held + rest, source=NAME, detail=host))  # fmt: skip
        return rotated + LATE_DAYS * DAY, late + rest

    def _cron(self, lines: dict[str, list[Line]], n: int, rng: np.random.Generator) -> None:
        each = max(1, n // (2 * len(HOSTS)))
        step = rhythm.DAY_S / each
        for found in lines.values():
            pids = np.sort(rng.integers(1_000, 4_000_000, each)).tolist()
            for at, pid in zip((np.arange(each) * step + rng.integers(1, 3)).tolist(), pids, strict=True):
                found.append((at, f"CRON[{pid}]: pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)"))  # fmt: skip
                found.append((at + 0.3, f"CRON[{pid}]: pam_unix(cron:session): session closed for user root"))

    def _robots(self, lines: dict[str, list[Line]], n: int, rng: np.random.Generator) -> None:
        """The backup's sessions, on every host in turn."""
        for row, at in enumerate(np.sort(rng.random(max(1, n // 4)) * (rhythm.DAY_S - 60)).tolist()):
            pid, port = int(rng.integers(1_000, 4_000_000)), int(rng.integers(32_768, 60_999))
            lines[HOSTS[row % len(HOSTS)]] += _session(at, pid, port, "backup", "10.20.0.40", "RSA SHA256:4vPzqYz1V0uTn3xW9mB2cQ7dRkLhJsEfGaXo5iNtUyM", 40)  # fmt: skip

    def _guesses(self, lines: dict[str, list[Line]], n: int, rng: np.random.Generator) -> None:
        """The internet tries names, two or three times each: never enough for one account to be a burst."""
        at = 0.0
        for _ in range(max(1, n // 5)):
            at += rng.exponential(rhythm.DAY_S / max(1, n // 5))
            host, pid, port = _OPEN[int(rng.integers(0, 3))], int(rng.integers(1_000, 4_000_000)), int(rng.integers(1024, 65_535))  # fmt: skip
            if at >= rhythm.DAY_S - 60:
                break
            address = f"192.0.2.{int(rng.integers(1, 255))}"
            who = "root" if rng.random() < 0.1 else f"invalid user {_GUESSED[int(rng.integers(0, len(_GUESSED)))]}"
            sshd = f"sshd[{pid}]: "
            found = lines[host]
            if who != "root":
                found.append((at, f"{sshd}Invalid user {who.removeprefix('invalid user ')} from {address} port {port}"))
            found.append((at + 0.2, f"{sshd}Failed password for {who} from {address} port {port} ssh2"))
            if rng.random() < 0.2:
                found.append((at + 3.1, f"{sshd}message repeated 2 times: [ Failed password for {who} from {address} port {port} ssh2]"))  # fmt: skip
            found.append((at + 4.0, f"{sshd}Connection closed by {'authenticating user root' if who == 'root' else who} {address} port {port} [preauth]"))  # fmt: skip

    def _sessions(self, lines: dict[str, list[Line]], day: dt.date, n: int, rng: np.random.Generator) -> None:
        """People sign in, some act as root, and sign out again."""
        weights = np.array([self._plot.calendar.weight(person, day) for person in self._people])
        if weights.sum() == 0:
            return
        for at in rng.choice(len(self._people), max(1, n // 7), p=weights / weights.sum()).tolist():
            person = self._people[at]
            start = rhythm.session_start(person, day, rng)
            begin = float(min(start + int(rng.integers(60, 7 * 3600)), rhythm.DAY_S - 1_900))
            host = HOSTS[int(rng.integers(0, len(HOSTS)))]
            lines[host] += self._session(person, begin, rng)

    def _session(self, person: Actor, begin: float, rng: np.random.Generator) -> list[Line]:
        name, address = account_of(person), person.addresses[0]
        pid, port = int(rng.integers(1_000, 4_000_000)), int(rng.integers(32_768, 60_999))
        found: list[Line] = []
        if rng.random() < 0.05:
            found.append((max(0.0, begin - 6), f"sshd[{pid}]: Failed password for {name} from {address} port {port} ssh2"))  # fmt: skip
        found += _session(begin, pid, port, name, address, self._keys[person.account], int(rng.integers(60, 1_800)))
        if rng.random() < 0.45:
            found += _sudo(begin + 20, name, _COMMANDS[int(rng.integers(0, len(_COMMANDS)))])
        return found

    def _planted(self, lines: dict[str, list[Line]], day: dt.date) -> None:
        """What the cases take away and add."""
        start = moment(day, 0)
        for silence in self._plot.cases.silences(NAME, day):
            host = silence.host or ""
            lines[host] = [(at, text) for at, text in lines[host] if not silence.covers(moment(day, at))]
        for one in self._plot.cases.of(HostLine, day):
            if isinstance(one, HostLine):
                lines[one.host].append(((one.at - start).total_seconds(), one.text))

    def _special(self, lines: dict[str, list[Line]], day: dt.date) -> None:
        plot = self._plot
        if day == plot.on_call and plot.on_call_person is not None:
            person, begin = plot.on_call_person, 80 * 60.0
            for host, after in (("bastion-01", 0), ("worker-01", 240)):
                lines[host] += _session(begin + after, 31_337 + after, 52_100 + after, account_of(person), person.addresses[-1], _key(person), 1_500)  # fmt: skip
            commands = ("/usr/bin/systemctl status payments", "/usr/bin/journalctl -u payments -n 500", "/usr/bin/systemctl restart payments")  # fmt: skip
            for step, command in enumerate(commands):
                lines["worker-01"] += _sudo(begin + 300 + 300 * step, account_of(person), command)
            self.stories.append(Story("on_call_night", day.isoformat(), rfc3339(moment(day, begin)), rfc3339(moment(day, begin + 1_740)), len(commands), account_of(person), person.person, source=NAME))  # fmt: skip
        hire = plot.new_hire
        if hire is not None and day == plot.calendar.hired[hire.account]:
            name, begin = account_of(hire), 7 * 3600.0
            for number, host in enumerate(HOSTS):
                lines[host] += [
                    (begin + number, f"groupadd[{2_000 + number}]: new group: name={name}, GID=1187"),
                    (begin + number + 0.2, f"useradd[{2_100 + number}]: new user: name={name}, UID=1187, GID=1187, home=/home/{name}, shell=/bin/bash, from=none"),
                ]  # fmt: skip
            self.stories.append(Story("new_hire", day.isoformat(), rfc3339(moment(day, begin)), rfc3339(moment(day, begin + 11)), 2 * len(HOSTS), name, hire.person, source=NAME))  # fmt: skip
        if day == plot.load_test:  # any working day will do
            typed = TYPED_PASSWORD
            lines["bastion-01"].append((9 * 3600.0, f"sshd[4711]: Invalid user {typed} from 198.51.100.12 port 50122"))
            lines["bastion-01"].append((9 * 3600.0 + 2, f"sshd[4711]: Failed password for invalid user {typed} from 198.51.100.12 port 50122 ssh2"))  # fmt: skip
            self.stories.append(Story("password_as_name", day.isoformat(), rfc3339(moment(day, 9 * 3600)), rfc3339(moment(day, 9 * 3600 + 2)), 2, source=NAME))  # fmt: skip


class _Stamps:
    """RFC 3164 stamps of one UTC day in local time."""

    def __init__(self, day: dt.date) -> None:
        self._first, self._last = offset(day, 0), offset(day, rhythm.DAY_S - 1)
        self._change = next((at for at in range(0, rhythm.DAY_S, 3600) if offset(day, at) != self._first), rhythm.DAY_S)
        days = (day, day + DAY)
        self._dates = [f"{_MONTHS[one.month - 1]} {one.day:2d}" for one in days]

    def of(self, at: float) -> str:
        second = int(at) + (self._first if at < self._change else self._last)
        date, second = divmod(second, rhythm.DAY_S)
        return f"{self._dates[date]} {second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"


def _key(person: Actor) -> str:
    digest = base64.b64encode(hashlib.sha256(person.account.encode()).digest()).decode().rstrip("=")
    return f"ED25519 SHA256:{digest}"


def _session(begin: float, pid: int, port: int, name: str, address: str, key: str, lasts: int) -> list[Line]:
    sshd, end = f"sshd[{pid}]: ", min(begin + lasts, rhythm.DAY_S - 1.0)
    return [
        (begin, f"{sshd}Accepted publickey for {name} from {address} port {port} ssh2: {key}"),
        (begin + 0.1, f"{sshd}pam_unix(sshd:session): session opened for user {name}(uid={1000 + len(name)}) by (uid=0)"),
        (end, f"{sshd}Disconnected from user {name} {address} port {port}"),
        (end + 0.1, f"{sshd}pam_unix(sshd:session): session closed for user {name}"),
    ]  # fmt: skip


def _sudo(at: float, name: str, command: str) -> list[Line]:
    return [
        (at, f"sudo: {name:>8} : TTY=pts/0 ; PWD=/home/{name} ; USER=root ; COMMAND={command}"),
        (at + 0.1, f"sudo: pam_unix(sudo:session): session opened for user root(uid=0) by {name}(uid={1000 + len(name)})"),
        (at + 0.6, "sudo: pam_unix(sudo:session): session closed for user root"),
    ]  # fmt: skip
