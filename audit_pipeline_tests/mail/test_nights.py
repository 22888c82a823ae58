"""Three nights with real logs, and records that come a day late: the second edition mails nothing, the next mail tells of it."""

from __future__ import annotations

from pathlib import Path

from audit_pipeline_tests.support import trail
from audit_pipeline_tests.support.mailbox import mailbox
from audit_pipeline_tests.support.night import night
from audit_pipeline_tests.support.project import Project


def test_late_records_make_an_edition_and_a_line_in_the_next_mail(tmp_path: Path) -> None:
    first, second, third = trail.DAYS
    with mailbox() as box:
        project = Project.make(tmp_path / "project", None, **box.keys)
        trail.write_days(project.logs)
        night(project.settings, first, send=True)
        before = (project.lake / f"reports/daily/{first}/1/report.html").read_bytes()
        night(project.settings, second, send=True)
        assert len(box.messages) == 2
        editions = sorted(path.name for path in (project.lake / f"reports/daily/{first}").iterdir())
        assert editions == ["1", "2"], "the late records were taken in after the mail of the second night"
        assert (project.lake / f"reports/daily/{first}/1/report.html").read_bytes() == before
        night(project.settings, second, send=True)
        assert len(box.messages) == 2, "nothing is mailed for a correction, and nothing twice"
        night(project.settings, third, send=True)
    texts = []
    for mail in box.messages:
        part = mail.get_body(("plain",))
        assert part is not None
        texts.append(str(part.get_content()))
    assert ["CORRECTIONS" in text for text in texts] == [False, False, True]
    assert f"{first}: trail events 190 → 192" in texts[2]
    assert not (project.lake / f"reports/daily/{first}/2/mail").exists(), "the edition has no mail of its own"
