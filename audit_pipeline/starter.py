"""What `audit-pipeline init` writes: a commented `pipeline.yaml`, and a `.gitignore` for what does not belong under version control.

Belongs here: the example that users begin with; each key of `settings` stands in it. Not here: the demo's configuration (`demo.config`).
"""

from __future__ import annotations

from pathlib import Path

from audit_pipeline import sources
from audit_pipeline.errors import UserError


def _commented(block: str) -> str:
    return "".join(f"  # {line[2:]}\n" for line in block.splitlines())


PIPELINE = """\
# Configuration of audit_pipeline. Times are UTC unless a zone is given; paths start from this file's folder.
# An unknown key is an error, so a slip of the pen is told. After each change: audit-pipeline check
# Secrets do not belong here: a key that ends in _env names the environment variable that holds one.

lake: ./lake                       # evidence, tables and reports: a folder, or an object-store URL such as s3://bucket/audit
state_url: sqlite:///state.db      # what people decided and what was mailed; PostgreSQL: postgresql+psycopg://user@host/audit
                                   # (its password: leave it out here and set PGPASSWORD)
clock: system                      # simulated is for demos: every output then says that it is no evidence
run_at: "03:00"                    # when the nightly run starts (in quotes); a day's decisions count until the next midnight plus this
start: 2026-01-01                  # change this: first day to look at

sources:                           # one entry for each place that logs come from; the name is yours (a-z, 0-9, _)
SOURCE
  # Other collectors, such as `audit-pipeline init --source elasticsearch` writes them:
"""
PIPELINE = PIPELINE.replace("SOURCE", sources.get("files").EXAMPLE, 1) + _commented(sources.get("opensearch").EXAMPLE)
PIPELINE += """
teams:                             # who is told, and what is theirs: source:NAME or service:NAME
  cloud: {mail: [cloud@example.com], owns: ["source:cloudtrail_prod", "service:s3.amazonaws.com"]}
  identity: {mail: [identity@example.com], owns: ["service:signin.amazonaws.com", "service:iam.amazonaws.com"], members: []}
  # members: the people, as they sign decisions; a team of one may approve its own fixes, and that is said

decisions:                         # how people's decisions reach the log, beside the command line
  allowed_signers: allowed_signers # people and their SSH keys, as Git and ssh-keygen use it; only signed approvals prove who approved
  folder: decisions                # decisions as YAML files, for teams that decide by pull request

reports:
  daily: {to: []}                  # mail addresses; empty: the report is written, and nothing is mailed
  weekly: {to: []}                 # the week's report, on Mondays
  monthly: {to: []}                # the month's report, for compliance
  base_url: null                   # where the reports can be opened in a browser, for links in mails
  detail: titles                   # how much of a finding is in the mail: counts, titles or full

privacy:                           # where people appear by names and where by pseudonyms
  mail: pseudonyms
  page: names
  monthly: pseudonyms
  key_file: null                   # key of the pseudonyms; null: pseudonyms.key beside the state database. Keep a copy of it

smtp: null                         # without a mail server mails are written beside the reports; else:
# smtp:
#   host: smtp.example.com
#   port: 587                      # usual: 25 with none, 587 with starttls, 465 with tls
#   security: starttls             # none, starttls or tls
#   from: audit@example.com
#   username: audit                # null: no login
#   password_env: SMTP_PASSWORD    # name of the environment variable that holds the password
#   password_file: null            # or a file that holds it, such as /run/secrets/smtp
#   ca_file: null                  # PEM file of a private authority; null: those that the system trusts
#   timeout_s: 30                  # seconds to wait for each answer
#   retry_for: 2m                  # trouble that may pass is tried again so long; 10m where the server greylists

heartbeat_url: null                # called (GET) after each good night that was mailed, so that a silent pipeline is noticed elsewhere

identities: null                   # CSV file: source (or *),account,person,role,kind (human or service),zone,team and optionally from,to
# hours: {zone: Europe/Berlin, days: mon-fri, from: "07:00", to: "19:00", holidays: null}   # working hours; holidays: CSV file date,zone,name. Without them nothing is off-hours
releases: null                     # CSV file: time,service,version,change_id

approved_access: null              # YAML file: who may read, write, delete logs at their source, stop logging or change how long they are kept

budgets: {anomalies_per_day: 5, findings_per_team_and_day: 3, findings_per_day: 10}   # ceilings on what asks for a person's time; high and critical rules are never cut

# Accepted, and not used yet: later versions read these keys, so that this file need not change then.

scope: null                        # YAML file: per framework the systems in scope, inventory, owner, date
retention: {raw: 400d, events: 400d, runs: 400d}   # evidence and tables (today nothing of them is deleted); runs: Dagster's own history

# Beside this file, found by name: rules/ (Sigma detections), kpis/ (KPI definitions), expectations/ (suites of checks)
"""

GITIGNORE = """\
# Evidence, decisions and logs are no source code.
/lake/
/state.db*
/pseudonyms.key
/logs/
/.dagster/
.env
"""

FILES = {"pipeline.yaml": PIPELINE, ".gitignore": GITIGNORE}


def configuration(source: str | None) -> str:
    """The example, with a collector of that type in place of the files.

    Raises:
        UsageError: there is no example of that type.
    """
    if source in (None, "files"):
        return PIPELINE
    block = sources.get(source).EXAMPLE
    begin, end = PIPELINE.index("  cloudtrail_prod:"), PIPELINE.index("teams:      ")
    name = block.split(":", 1)[0].strip()
    text = f"{PIPELINE[:begin]}{block}    team: cloud\n\n{PIPELINE[end:]}"
    return text.replace("source:cloudtrail_prod", f"source:{name}")


def init(folder: Path, source: str | None = None) -> list[Path]:
    """Write the files that a new configuration begins with; nothing is written when one of them is there.

    Args:
        folder: is made when it is missing.
        source: type of the collector in the example; `files` by default.

    Returns:
        The files written.

    Raises:
        UsageError: there is no example of that type.
        UserError: a file is there already, or the folder cannot be written; names it.
    """
    files = FILES | {"pipeline.yaml": configuration(source)}
    paths = [folder / name for name in files]
    for path in paths:
        if path.exists() or path.is_symlink():
            raise UserError(
                f"{path}: is there already and is not overwritten. Choose another folder, or move it away first."
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            with path.open("x", encoding="utf-8") as file:
                file.write(files[path.name])
    except OSError as error:
        raise UserError(
            f"{error.filename or folder}: cannot be written ({error.strerror or error}). Choose another folder, or mend its rights."
        ) from error
    return paths
