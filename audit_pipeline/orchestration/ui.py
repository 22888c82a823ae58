"""`audit-pipeline ui`: Dagster's webserver and daemon for one configuration, on loopback, until interrupted."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from audit_pipeline.orchestration.home import LOCATION, prepare
from audit_pipeline.settings import Settings
from audit_pipeline.terminal import say


def serve(settings: Settings, host: str, port: int) -> int:
    """Start both, wait for the first to end or for Ctrl-C, stop both."""
    home = prepare(settings)
    workspace = home / "workspace.yaml"
    workspace.write_text(
        f"load_from:\n  - python_module: {{module_name: {LOCATION}, location_name: {LOCATION}}}\n", encoding="utf-8"
    )
    folder = Path(sys.executable).parent
    commands = [
        [str(folder / "dagster-webserver"), "-h", host, "-p", str(port), "-w", str(workspace)],
        [str(folder / "dagster-daemon"), "run", "-w", str(workspace)],
    ]
    say(f"Dagster for {settings.file} on http://{host}:{port} (Ctrl-C ends it)")
    running = [subprocess.Popen(command) for command in commands]  # noqa: S603 - our own commands
    stop = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while all(process.poll() is None for process in running):
            time.sleep(0.5)
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, stop)
        for process in running:
            process.send_signal(signal.SIGINT)
        for process in running:
            process.wait(timeout=20)
    return 0
