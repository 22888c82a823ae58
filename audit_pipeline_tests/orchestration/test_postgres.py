"""Everything that a bigger installation keeps in PostgreSQL, in a real one: Dagster's history by the block of dagster.yaml, decisions, deliveries."""

import re
from pathlib import Path

import pytest
import sqlalchemy as sa

from audit_pipeline_tests.support import postgres, trail
from audit_pipeline_tests.support.project import Project

SHIPPED = Path(__file__).parents[2] / "audit_pipeline" / "orchestration" / "dagster.yaml"


def _with_block() -> str:
    """The shipped file with its PostgreSQL block in place of SQLite's, as its comment tells a reader to do."""
    text = SHIPPED.read_text(encoding="utf-8")
    sqlite = re.search(r"^event_log_storage:\n(?: .*\n)+", text, re.MULTILINE)
    block = re.search(r"^# storage:\n(?:# .*\n)+", text, re.MULTILINE)
    assert sqlite
    assert block
    return text.replace(sqlite[0], "").replace(block[0], re.sub(r"^# ", "", block[0], flags=re.MULTILINE))


@pytest.mark.slow
def test_a_night_with_history_decisions_and_deliveries_in_postgresql(tmp_path: Path) -> None:
    with postgres.server() as url:
        project = Project.make(
            tmp_path / "project", state_url=url.replace("postgresql://", "postgresql+psycopg://"), clock="simulated"
        )
        trail.write_days(project.logs)
        home = project.root / ".dagster"
        home.mkdir()
        (home / "dagster.yaml").write_text(_with_block(), encoding="utf-8")
        said = project.cli("run", "--from", trail.DAYS[0], "--to", trail.DAYS[1], DAGSTER_POSTGRES_URL=url)
        assert "report:" in said.out, said.text
        listed = project.cli("findings", "list", "--format", "json")
        assert listed.code == 0, listed.text
        finding = re.search(r'"finding_id": ?"([^"]+)"', listed.out)
        assert finding, listed.out
        decided = project.cli("findings", "acknowledge", finding[1], "--reason", "looking")
        assert decided.code == 0, decided.text
        engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
        with engine.connect() as con:
            runs = con.execute(sa.text("SELECT count(*) FROM runs WHERE status = 'SUCCESS'")).scalar_one()
            decisions = con.execute(sa.text("SELECT action FROM decisions")).scalars().all()
        engine.dispose()
        assert runs >= 2
        assert decisions == ["acknowledge"]
        assert not list(home.rglob("*.db")), "nothing of Dagster's history lies in SQLite"
        assert project.problems() == []
