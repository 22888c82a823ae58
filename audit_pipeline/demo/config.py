"""The demo's `pipeline.yaml` and `identities.csv`.

Belongs here: what a user would write by hand for the synthetic company. Not here: the general example (`audit_pipeline.starter`).
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from pathlib import Path

from audit_pipeline.demo.company import Company
from audit_pipeline.demo.generate import DEFAULT_SEED, TRUTH

SOURCE = "cloudtrail"
CONFIG, IDENTITIES = "pipeline.yaml", "identities.csv"
HEADER = ("source", "account", "person", "role", "kind", "zone", "team")

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
teams:
  cloud: {{mail: [cloud-team@example.com], owns: ["source:cloudtrail", "service:ec2.amazonaws.com", "service:s3.amazonaws.com"]}}
  identity: {{mail: [identity-team@example.com], owns: ["service:signin.amazonaws.com", "service:iam.amazonaws.com", "service:sts.amazonaws.com"]}}
  payments: {{}}
  checkout: {{}}
  search: {{}}
  platform: {{}}
  data: {{}}
  mobile: {{}}
  finance: {{}}
  support: {{}}
identities: identities.csv         # who is behind an account
hours: {{zone: Europe/Berlin, days: mon-fri, from: "07:00", to: "19:00"}}
reports: {{daily: {{to: [audit@example.com]}}}}
# No mail server: mails are written beside the reports and not sent.
"""


def write_config(root: Path, *, start: dt.date, seed: int | None = None) -> Path:
    """Write `root/pipeline.yaml` and `root/identities.csv` for the company of `seed`, replacing what is there.

    Args:
        root: folder of the demo, the one given to `generate`.
        start: first day of the logs.
        seed: the one given to `generate`; by default that of the logs already in `root`, else 7.

    Returns:
        The path of `pipeline.yaml`.
    """
    root.mkdir(parents=True, exist_ok=True)
    (root / IDENTITIES).write_text(
        _identities(Company.make(_seed_of(root) if seed is None else seed)), encoding="utf-8"
    )
    file = root / CONFIG
    file.write_text(_TEMPLATE.format(start=start.isoformat()), encoding="utf-8")
    return file


def _seed_of(root: Path) -> int:
    """The seed of the logs in `root`, so that names and logs belong together."""
    truth = root / TRUTH
    return int(json.loads(truth.read_text(encoding="utf-8"))["seed"]) if truth.exists() else DEFAULT_SEED


def _identities(company: Company) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows((SOURCE, *row) for row in company.identities())
    return out.getvalue()
