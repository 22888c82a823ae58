"""`python -m audit_pipeline_tests.sources.histories [TYPE|all] [N] [FIRST]`: play random lives of a source and print what happened.

`python -m audit_pipeline_tests.sources.histories mutants [TYPE|all]` writes which history finds each wrong collector (`found.json`), so that
the tests need not look for it again.

Belongs here: finding the cases by name, and the printing. Not here: the lives (`lives`).
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

from audit_pipeline_tests.sources.lives import Case, Stage, caught

_SUFFIX = "_lives.py"
FOUND = Path(__file__).with_name("found.json")
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


def search(name: str, most: int = 500) -> dict[str, int]:
    """The first history that finds each wrong collector of a type; one that none finds is left out, and printed."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(get(name), Path(folder))
        seeds = {mutant: caught(stage, mutant, most) for mutant in sorted(stage.case.mutants)}
    print(f"{name}: {seeds}", flush=True)
    return {mutant: seed for mutant, seed in seeds.items() if seed is not None}


def mutants(which: str = "all") -> int:
    """Look for them anew."""
    known = found()
    for name in NAMES if which == "all" else [which]:
        known[name] = search(name)
    FOUND.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 0


def found() -> dict[str, dict[str, int]]:
    """As they were found last."""
    known: dict[str, dict[str, int]] = json.loads(FOUND.read_text(encoding="utf-8")) if FOUND.is_file() else {}
    return known


def main(which: str = "all", n: str = "200", first: str = "0") -> int:
    """1 when a law was broken."""
    return int(sum(report(name, int(n), int(first)) for name in (NAMES if which == "all" else [which])) > 0)


if __name__ == "__main__":
    sys.exit(mutants(*sys.argv[2:]) if sys.argv[1:2] == ["mutants"] else main(*sys.argv[1:]))
