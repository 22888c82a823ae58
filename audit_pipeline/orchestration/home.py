"""Where Dagster keeps its history: `.dagster/` beside the configuration, the same for the command line, the UI and the daemon.

Belongs here: DAGSTER_HOME and its dagster.yaml. Not here: definitions. Without a home, history would be temporary.
"""

import os
from pathlib import Path

from audit_pipeline.settings import CONFIG_ENV, Settings

LOCATION = "audit_pipeline.definitions"
REPOSITORY_TAG = {".dagster/repository": f"__repository__@{LOCATION}"}
"""Marks runs of the command line, so that the UI's job page lists them."""


def prepare(settings: Settings) -> Path:
    """Make the home if it is missing, and point this process and its children to it; an own DAGSTER_HOME is kept."""
    os.environ[CONFIG_ENV] = str(settings.file)
    own = os.environ.get("DAGSTER_HOME")
    home = Path(own) if own else settings.root / ".dagster"
    home.mkdir(parents=True, exist_ok=True)
    target = home / "dagster.yaml"
    if not target.exists():
        target.write_text((Path(__file__).parent / "dagster.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    os.environ["DAGSTER_HOME"] = str(home)
    return home
