"""Where Dagster keeps its history: `.dagster/` beside the configuration, the same for the command line, the UI and the daemon.

Belongs here: DAGSTER_HOME and its dagster.yaml. Not here: definitions. Without a home, history would be temporary.
"""

import os
import sqlite3
from pathlib import Path

import dagster as dg
from filelock import FileLock

from audit_pipeline.errors import UserError
from audit_pipeline.settings import CONFIG_ENV, Settings

_LOCK = ".lock"
LOCATION = "audit_pipeline.definitions"
REPOSITORY_TAG = {".dagster/repository": f"__repository__@{LOCATION}"}
"""Marks runs of the command line, so that the UI's job page lists them."""


def prepare(settings: Settings) -> Path:
    """Make the home if it is missing, and point this process and its children to it; an own DAGSTER_HOME is kept.

    Raises:
        UserError: the folder cannot be made or written; says which and what to do.
    """
    os.environ[CONFIG_ENV] = str(settings.file)
    own = os.environ.get("DAGSTER_HOME")
    home = Path(own) if own else settings.root / ".dagster"
    try:
        home.mkdir(parents=True, exist_ok=True)
        target = home / "dagster.yaml"
        with FileLock(home / _LOCK):
            if not target.exists():
                target.write_text(
                    (Path(__file__).parent / "dagster.yaml").read_text(encoding="utf-8"), encoding="utf-8"
                )
    except OSError as error:
        raise UserError(
            f"{home}: Dagster's history cannot be kept there ({error.strerror or error}). Make room or mend the rights, or set DAGSTER_HOME to another folder."
        ) from error
    os.environ["DAGSTER_HOME"] = str(home)
    return home


def kept_open(home: Path) -> list[sqlite3.Connection]:
    """A connection to each of Dagster's databases, to be held while many runs are made in this process.

    Dagster opens and closes one for each event. SQLite writes its journal back whenever the last one closes, which costs more
    than the event; while one stays open it is written back every thousand pages.
    """
    found = [sqlite3.connect(file, check_same_thread=False) for file in sorted(home.rglob("*.db"))]
    for connection in found:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchall()  # only who has read takes part
    return found


def instance(settings: Settings) -> dg.DagsterInstance:
    """Dagster's history; made by one process at a time, as Dagster's own making of its databases does not expect company."""
    home = prepare(settings)
    with FileLock(home / _LOCK):
        return dg.DagsterInstance.get()
