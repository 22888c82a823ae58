"""Pages and mails in a real browser: nothing that axe-core complains of, nothing fetched, nothing wider than a phone."""

from __future__ import annotations

import datetime as dt
import functools
import shutil
from email import message_from_bytes, policy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from audit_pipeline.lake.store import Lake
from audit_pipeline.reports.periodic import publish_period
from audit_pipeline.reports.periods import KINDS, Period
from audit_pipeline_tests.support import trail
from audit_pipeline_tests.support.browser import chromium
from audit_pipeline_tests.support.project import Project
from audit_pipeline_tests.support.shared import done  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from playwright.sync_api import Request


def _documents(project: Project, into: Path) -> dict[str, Path]:
    """The HTML of each kind of report, and of a mail, as files."""
    settings = project.settings
    lake = Lake.open(settings.lake_url)
    last = trail.DAYS[-1]
    found = {"daily": Path(lake.root, f"reports/daily/{last}/1/report.html")}
    for kind in KINDS:
        edition = publish_period(
            settings, lake, Period.of(kind, last), settings.clock_for(last + dt.timedelta(days=40))
        )
        found[kind] = Path(lake.root, edition.folder, "report.html")
    (eml,) = Path(lake.root).glob(f"reports/daily/{last}/1/mail/all.eml")
    body = message_from_bytes(eml.read_bytes(), policy=policy.default).get_body(("html",))
    assert body is not None
    found["mail"] = into / "mail.html"
    found["mail"].write_text(body.get_content(), encoding="utf-8")
    return found


def _note(fetched: list[str], request: Request) -> None:
    fetched.append(request.url)


@pytest.mark.slow
def test_nobody_is_left_out_and_nothing_is_fetched(done: Project, tmp_path: Path) -> None:  # noqa: F811
    project = Project(tmp_path / "copy")
    shutil.copytree(done.root, project.root)
    from axe_playwright_python.sync_playwright import Axe

    complaints: dict[str, Any] = {}
    with chromium() as browser:
        for name, file in _documents(project, tmp_path).items():
            for scheme in ("light", "dark"):
                page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme=scheme, bypass_csp=True)
                fetched: list[str] = []
                page.on("request", functools.partial(_note, fetched))
                page.goto(file.as_uri())
                assert [url for url in fetched if not url.startswith(("file:", "data:", "cid:"))] == []
                wide = page.evaluate("document.documentElement.scrollWidth")
                assert wide <= 391, f"{name} is {wide} px wide on a phone"
                found = Axe().run(page).response["violations"]
                if found:
                    complaints[f"{name} {scheme}"] = [(one["id"], one["help"], [node["html"][:160] for node in one["nodes"]][:3]) for one in found]  # fmt: skip
                page.close()
    assert complaints == {}
