"""`python -m audit_pipeline_tests.sources.histories [TYPE|all] [N] [FIRST]`: play random lives of a source and print what happened.

Belongs here: finding the cases by name, and the printing. Not here: the lives (`lives`).
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections import Counter
from pathlib import Path

from audit_pipeline_tests.sources.lives import Case, Stage

_SUFFIX = "_lives.py"
NAMES = sorted(file.name.removesuffix(_SUFFIX) for file in Path(__file__).parent.glob(f"*{_SUFFIX}"))


def get(name: str) -> Case:
    """The case of a type of source."""
    found: Case = importlib.import_module(f"audit_pipeline_tests.sources.{name}_lives").CASE
    return found


def report(name: str, n: int, first: int) -> int:
    """Play `n` of them; how many broke a law."""
    fired: Counter[str] = Counter()
    verdicts: Counter[str] = Counter()
    broken = 0
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(get(name), Path(folder))
        for seed in range(first, first + n):
            found = stage.play(seed)
            fired += found.fired
            verdicts[f"{'quiet' if found.quiet else 'troubled'} {found.verdict}"] += 1
            for line in found.broken:
                print(f"{name}, seed {seed}: {line}", flush=True)
            broken += bool(found.broken)
    print(f"{name}: {n} histories from seed {first}, {broken} broken\nverdicts {dict(sorted(verdicts.items()))}\nfired {dict(sorted(fired.items()))}", flush=True)  # fmt: skip
    return broken


def main(which: str = "all", n: str = "200", first: str = "0") -> int:
    """1 when a law was broken."""
    return int(sum(report(name, int(n), int(first)) for name in (NAMES if which == "all" else [which])) > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
