"""What a user would write by hand for the synthetic company: `pipeline.yaml` and what goes beside it.

Belongs here: configuration, inventory, releases, holidays, scope and noise rules of the demo. Not here: the general example
(`audit_pipeline.starter`), or any log.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from audit_pipeline.clock import DAY, rfc3339
from audit_pipeline.demo import application, gateway, hoop, kubernetes, linux
from audit_pipeline.demo.cases import TESTER_ADDRESS
from audit_pipeline.demo.company import Company
from audit_pipeline.demo.files import moment
from audit_pipeline.demo.generate import COUNTS, DEFAULT_SEED
from audit_pipeline.demo.plot import HOSTS, SERVICES, Plot

SOURCE = "cloudtrail"
CONFIG, IDENTITIES = "pipeline.yaml", "identities.csv"
HEADER = ("source", "account", "person", "role", "kind", "zone", "team", "from", "to")
MAPPING = Path(__file__).with_name("app_requests.yaml")
"""What the keys of the application's log mean; the same as in `examples/formats`."""
_OWNER = {"identity": "identity", "support": "identity", "finance": "identity", "cloud": "cloud", "platform": "cloud", "data": "cloud"}  # fmt: skip
"""The company's many teams to the three that the pipeline mails; the rest is the shop's."""

_TEMPLATE = """\
# The demo's configuration. Its logs are invented and so is its clock: every report says so.
clock: simulated                   # a run of day D sees what was delivered by the night after D, not what is there today
lake: ./lake                       # evidence, tables and reports
state_url: sqlite:///state.db      # what people decided, and what was mailed
run_at: "03:00"                    # UTC; the night after a day
start: {start}                  # first day
sources:
  cloudtrail:
    type: files
    format: cloudtrail
    paths: ["logs/AWSLogs/**/*.json.gz"]
    team: cloud
    settles_after: 2h              # CloudTrail delivers within minutes, but promises nothing
{others}teams:
  cloud: {{mail: [cloud-team@example.com], owns: [{cloud}"source:cloudtrail", "service:ec2.amazonaws.com", "service:s3.amazonaws.com"]}}
  identity: {{mail: [identity-team@example.com], owns: [{identity}"service:signin.amazonaws.com", "service:iam.amazonaws.com", "service:sts.amazonaws.com"]}}
  shop: {{mail: [shop-team@example.com], owns: [{shop}"service:checkout", "service:payments", "service:search"]}}
identities: identities.csv         # who is behind an account, and from when on
hours: {{zone: Europe/Berlin, days: mon-fri, from: "07:00", to: "19:00", holidays: holidays.csv}}
releases: releases.csv             # what went out when
scope: scope.yaml                  # what the controls of a framework are asked about
reports:
  daily: {{to: [audit@example.com]}}
  weekly: {{to: [audit@example.com]}}
  monthly: {{to: [audit@example.com, compliance@example.com]}}
# No mail server: mails are written beside the reports and not sent.
"""
_OTHERS = """\
  kubernetes:
    type: files
    format: kubernetes_audit
    paths: ["logs/kubernetes/*.log.gz"]
    team: cloud
  linux:
    type: files
    format: linux_auth
    paths: ["logs/linux/*/auth.log-*.gz"]
    zone: Europe/Berlin            # the hosts write local time and no zone; the year is that of the file's time
    team: identity
    settles_after: 3h              # hosts rotate at 03:30 local time
    expected: [{hosts}]
  app:
    type: files
    format: app_requests           # formats/app_requests.yaml says what the keys mean
    paths: ["logs/app/*.jsonl.gz"]
    team: shop
  hoop:
    type: hoop                     # collected over HTTP; the demo answers for the gateway itself, while it runs and no longer
    format: hoop
    http:
      url: {url}
      auth: {{bearer: {{file: {key}}}}}
      budget: 10s                  # of a real gateway: minutes
    team: identity
"""
_SCOPE = """\
# Which systems each framework is asked about; without this file every control is `not_evaluated`.
{frameworks}"""
_FRAMEWORK = """\
{name}:
  systems: [{systems}]
  inventory: identities.csv
  owner: compliance
  date: {start}
"""
_NOISE = """\
# Events that match stay in the table; they are marked with the rule's id and counted.
id: health_checks
title: Health checks of the cluster
reason: The cluster asks every service and its API server every few seconds whether they live; only a refusal says something.
owner: cloud
created: {created}
expires: {expires}          # a noise rule ends by itself: whoever owns it looks at it again before then
sources: [{sources}]
where:
{where}"""
_TEST_NOISE = """\
# An approved test is no intrusion; its events stay in the table, marked, and rules see what others do on that day.
id: penetration_test
title: Approved penetration test
reason: Ordered by the security team; the testers' account and address were announced, and their report is filed with the change.
owner: security
created: {day}
expires: {after}          # the test was approved for one day
sources: [cloudtrail]
where:
  tester:
    actor_user_name: {account}
    src_endpoint_ip: {address}
  condition: tester
"""
_WHERE = """\
  app:
    actor_user_name: kube-probe
  cluster:
    http_request_user_agent|startswith: kube-probe/
  refused:
    status_id: 2
  condition: (app or cluster) and not refused
"""


def write_config(root: Path, *, start: dt.date, seed: int | None = None, plot: Plot | None = None, url: str = f"http://127.0.0.1:{gateway.PORT}") -> Path:  # fmt: skip
    """Write `root/pipeline.yaml` and what it names for the company of `seed`, replacing what is there.

    Args:
        root: folder of the demo, the one given to `generate` or `sources.make`.
        start: first day of the logs.
        seed: the one given to them; by default that of the logs already in `root`, else 7.
        plot: what happens in these days, as `sources.make` gave it; without one there is CloudTrail alone.
        url: where the demo's hoop.dev gateway answers.

    Returns:
        The path of `pipeline.yaml`.
    """
    root.mkdir(parents=True, exist_ok=True)
    company = Company.make(_seed_of(root) if seed is None else seed)
    wide = plot is not None
    (root / IDENTITIES).write_text(_csv(HEADER, _identities(company, plot)), encoding="utf-8")
    days_off = plot.calendar.days_off.items() if plot else ()
    (root / "holidays.csv").write_text(_csv(("date", "name"), [(day.isoformat(), name) for day, name in days_off]), encoding="utf-8")  # fmt: skip
    releases = [(rfc3339(moment(one.day, one.second)), one.service, one.version, one.change_id) for one in (plot.releases if plot else ())]  # fmt: skip
    (root / "releases.csv").write_text(_csv(("time", "service", "version", "change_id"), releases), encoding="utf-8")
    sources = _sources(wide=wide)
    (root / "scope.yaml").write_text(_scope(start, sources), encoding="utf-8")
    if wide:
        _write(root / "formats" / MAPPING.name, MAPPING.read_text(encoding="utf-8"))
        expires = start + dt.timedelta(days=365)
        _write(root / "noise" / "health_checks.yaml", _NOISE.format(created=start, expires=expires, sources=", ".join(sources[1::2]), where=_WHERE))  # fmt: skip
        _announce(root, plot)
        (root / gateway.KEY_FILE).write_text(gateway.KEY + "\n", encoding="utf-8")
    file = root / CONFIG
    file.write_text(_template(start, url, wide=wide), encoding="utf-8")
    return file


def _announce(root: Path, plot: Plot | None) -> None:
    """The noise rule of the penetration test, for its day."""
    tests = [case for case in plot.cases.all if case.kind == "penetration_test"] if plot else []
    for case in tests:
        day = case.first.date()
        account = plot.cases.strangers[0].account if plot else ""
        _write(root / "noise" / "penetration_test.yaml", _TEST_NOISE.format(day=day, after=day + DAY, account=account, address=TESTER_ADDRESS))  # fmt: skip


def _sources(*, wide: bool) -> list[str]:
    return [SOURCE, kubernetes.NAME, linux.NAME, application.NAME, hoop.NAME] if wide else [SOURCE]


def _template(start: dt.date, url: str, *, wide: bool) -> str:
    owned = {
        "cloud": '"source:kubernetes", ',
        "identity": '"source:linux", "source:hoop", ',
        "shop": '"source:app", ',
    }
    others = _OTHERS.format(hosts=", ".join(HOSTS), url=url, key=gateway.KEY_FILE)
    return _TEMPLATE.format(
        start=start.isoformat(), others=others if wide else "", **(owned if wide else dict.fromkeys(owned, ""))
    )


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")


def _scope(start: dt.date, sources: list[str]) -> str:
    names = ("iso27001", "nist_au", "pci_dss", "soc2")
    return _SCOPE.format(
        frameworks="".join(_FRAMEWORK.format(name=name, systems=", ".join(sources), start=start) for name in names)
    )


def _seed_of(root: Path) -> int:
    """The seed of the logs in `root`, so that names and logs belong together."""
    counts = root / COUNTS
    return int(json.loads(counts.read_text(encoding="utf-8"))["seed"]) if counts.exists() else DEFAULT_SEED


def _csv(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()


def _identities(company: Company, plot: Plot | None) -> list[tuple[str, ...]]:
    """The inventory: of each source the accounts that its logs name."""
    hired = plot.calendar.hired if plot else {}

    def row(source: str, account: str, of: str, person: str, role: str, kind: str, zone: str, team: str) -> tuple[str, ...]:  # fmt: skip
        since = hired[of].isoformat() if of in hired else ""
        return (source, account, person, role, kind, zone, _OWNER.get(team, "shop"), since, "")

    found = [row(SOURCE, account, account, *rest) for account, *rest in company.identities()]
    if plot is None:
        return found
    found += [row(SOURCE, p.account, p.account, p.person, p.role, p.kind, p.zone, p.team) for p in plot.cases.strangers]
    found += [row(kubernetes.NAME, p.account, p.account, p.person, p.role, p.kind, p.zone, p.team) for p in kubernetes.people_of(company)]  # fmt: skip
    found += [row(linux.NAME, linux.account_of(p), p.account, p.person, p.role, p.kind, p.zone, p.team) for p in linux.people_of(company)]  # fmt: skip
    found += [row(hoop.NAME, hoop.mail_of(p), p.account, p.person, p.role, p.kind, p.zone, p.team) for p in [*hoop.people_of(company), *hoop.admins_of(company)]]  # fmt: skip
    keeper = next(person for person in company.people if person.team in ("cloud", "platform")).person
    machines = [(kubernetes.NAME, user, "shop" if ":shop:" in user else "cloud") for user in kubernetes.machine_users()]
    machines += [(linux.NAME, "root", "cloud"), (linux.NAME, "backup", "cloud")]
    machines += [(application.NAME, "kube-probe", "cloud"), (application.NAME, "loadtest", "shop")]
    machines += [(application.NAME, service, "shop") for service in SERVICES]
    return found + [row(source, account, account, keeper, "machine", "service", "UTC", team) for source, account, team in machines]  # fmt: skip
