"""Runs of the command line whose process was killed: said to have failed, and the place in a pool that they held is given back.

Belongs here: telling a dead process from a living one, and cleaning up after it. Not here: what the run left in the lake, which the next
night mends by itself. Dagster's own run monitoring knows only runs that its daemon launched; a run in a process of ours would stay
`STARTED` for ever, and the next one would wait for ever for the pool.

A process that runs jobs holds a file lock, which the operating system takes from it with its life (flock(2)), and names it in a tag.
"""

import uuid
from pathlib import Path

import dagster as dg
from filelock import FileLock, Timeout

RUNNER_TAG = "audit_pipeline/runner"
KILLED = "The process that ran this was killed before the end. Nothing is lost: run the day again."
_OPEN = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


def sign_of_life(instance: dg.DagsterInstance) -> tuple[dict[str, str], FileLock]:
    """The tag for the runs of this process, and the lock that it must keep until its last run has ended."""
    name = uuid.uuid4().hex
    lock = FileLock(_folder(instance) / name, thread_local=False)
    with _alone(instance):
        lock.acquire()
    return {RUNNER_TAG: name}, lock


def bury(instance: dg.DagsterInstance) -> list[str]:
    """End the runs whose process is gone; returns their ids."""
    found = []
    with _alone(instance):
        for file in sorted(_folder(instance).iterdir()):
            try:
                with FileLock(file, timeout=0):
                    left = instance.get_runs(dg.RunsFilter(statuses=_OPEN, tags={RUNNER_TAG: file.name}))
                    for run in left:
                        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
                        instance.report_run_failed(run, KILLED)
                        found.append(run.run_id)
            except Timeout:  # alive
                continue
            file.unlink(missing_ok=True)
    return found


def _alone(instance: dg.DagsterInstance) -> FileLock:
    """One process at a time: a lock that was made and is not held yet must not be taken for that of a dead one."""
    return FileLock(Path(instance.root_directory, "runners.lock"))


def _folder(instance: dg.DagsterInstance) -> Path:
    folder = Path(instance.root_directory, "runners")
    folder.mkdir(exist_ok=True)
    return folder
