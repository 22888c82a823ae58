"""Pictures of what a person sees: report, mail and Dagster UI of the demo, taken with an installed Chromium (`make docs-shots`).

python -m benchmarks.shots [DEMO] [OUT] [--all]
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

PORT = int(os.environ.get("AUDIT_PIPELINE_UI_PORT", "3033"))
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def main(demo: Path, out: Path, everything: bool) -> None:
    """Take the pictures of the README, or (`--all`) every view that was looked at."""
    out.mkdir(parents=True, exist_ok=True)
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    if browser_path is None:
        sys.exit("no Chromium is installed: install the package chromium, then run this again")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=_FLAGS)
        _reports(browser, demo, out, everything)
        _dagster(browser, demo, out, everything)
        browser.close()


def _reports(browser: Browser, demo: Path, out: Path, everything: bool) -> None:
    last = max((demo / "lake/reports/daily").iterdir())
    edition = max(last.iterdir(), key=lambda path: int(path.name))
    page = f"file://{edition.absolute()}/report.html"
    _shot(browser, page, out / "report.png", 1100, 780)
    _shot(browser, f"file://{_mail_as_page(edition, out)}", out / "mail.png", 700, 900, full=True)
    (out / "mail.html").unlink()
    if everything:
        _shot(browser, page, out / "report-wide.png", 1440, 900, full=True)
        _shot(browser, page, out / "report-phone.png", 390, 844, full=True)
        _shot(browser, page, out / "report-dark.png", 1280, 900, full=True, dark=True)
        tab = browser.new_page()
        tab.goto(page)
        tab.pdf(path=out / "report-print.pdf", format="A4", print_background=True)
        tab.close()


def _mail_as_page(edition: Path, out: Path) -> Path:
    """The mail's HTML part with its picture beside it."""
    import base64

    message = message_from_bytes((edition / "mail/all.eml").read_bytes(), policy=default)
    html = message.get_body(("html",))
    text = html.get_content() if html is not None else ""
    for part in message.walk():
        cid = part.get("Content-ID")
        if cid:
            data = base64.b64encode(part.get_payload(decode=True) or b"").decode()  # type: ignore[arg-type]
            text = text.replace(f"cid:{cid.strip('<>')}", f"data:image/png;base64,{data}")
    target = out.absolute() / "mail.html"
    target.write_text(text, encoding="utf-8")
    return target


def _shot(
    browser: Browser, url: str, target: Path, width: int, height: int, *, full: bool = False, dark: bool = False
) -> None:
    tab = browser.new_page(viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light")
    tab.goto(url)
    tab.wait_for_timeout(300)
    tab.screenshot(path=target, full_page=full)
    tab.close()


def _dagster(browser: Browser, demo: Path, out: Path, everything: bool) -> None:
    command = [
        str(Path(sys.executable).parent / "audit-pipeline"),
        "-c",
        str(demo / "pipeline.yaml"),
        "ui",
        "--port",
        str(PORT),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait()
            tab = browser.new_page(viewport={"width": 1500, "height": 940})
            for name, path in _views(everything).items():
                _view(tab, path, out / f"{name}.png")
            tab.close()
        finally:
            server.terminate()
            server.wait(timeout=30)


def _views(everything: bool) -> dict[str, str]:
    location = "__repository__@audit_pipeline.definitions"
    graph = {"dagster": "/assets/completeness?view=checks"}
    if not everything:
        return graph
    run = _last_run()
    return {
        **graph,
        "dagster-lineage": "/asset-groups",
        "dagster-asset": "/assets/completeness?view=overview",
        "dagster-job": f"/locations/{location}/jobs/nightly",
        "dagster-partitions": "/assets/completeness?view=partitions",
        "dagster-raw": "/assets/raw/cloudtrail?view=overview",
        "dagster-runs": f"/locations/{location}/jobs/nightly/runs",
        "dagster-run": f"/runs/{run}",
        "dagster-schedules": "/automation",
    }


def _view(tab: Page, path: str, target: Path) -> None:
    tab.goto(f"http://127.0.0.1:{PORT}{path}")
    tab.wait_for_timeout(6000)
    tab.screenshot(path=target)


def _last_run() -> str:
    found = _ask("{runsOrError(limit: 1) {... on Runs {results {runId}}}}")
    return str(found["data"]["runsOrError"]["results"][0]["runId"])


def _ask(query: str) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def _wait() -> None:
    for _ in range(120):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/server_info", timeout=2):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(1)
    sys.exit("Dagster's webserver did not come up within two minutes")


if __name__ == "__main__":
    given = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    main(
        Path(given[0] if given else "demo"), Path(given[1] if len(given) > 1 else "docs/pictures"), "--all" in sys.argv
    )
