"""The bridge to Great Expectations, and the only module that imports it (inside a function: 4 s and 200 MB).

Belongs here: a small frame and expectations in, outcomes out. Not here: what is expected (`suites/*.yaml`) or where the frame comes
from (`checks`).

Great Expectations reports an expectation that raised as `success=False`, like bad data; here it is `crashed`, with the exception.
What has no data is `not_evaluated`, which Great Expectations would call a success, and where some sources have none, `incomplete`.
"""

from __future__ import annotations

import os
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from audit_pipeline.quality.suite import Expected

if TYPE_CHECKING:
    import pandas as pd

State = Literal["pass", "fail", "crashed", "incomplete", "not_evaluated"]
"""`incomplete`: it holds for the sources that have data for it, and others have none; `not_evaluated`: none has."""
KEY = "source"
EXAMPLES = 5


@dataclass(frozen=True)
class Outcome:
    """How one expectation went; `count` and `share` of the sources that were evaluated are unexpected."""

    name: str
    check: str
    severity: str
    meaning: str
    state: State
    observed: str = ""
    count: int | None = None
    share: float | None = None
    left_out: tuple[str, ...] = ()
    """sources without data for it: neither passed nor failed"""
    failed: tuple[str, ...] = ()
    """sources that did not meet it"""
    events: int | None = None
    """events, or rejects, that make it fail; null where it is not about single ones"""
    events_share: float | None = None
    """their share of what the failed sources wrote"""
    examples: list[dict[str, Any]] = field(default_factory=list)
    exception: str | None = None


def judge(frame: pd.DataFrame, suite: Iterable[Expected]) -> list[Outcome]:
    """Judge a frame of one row a source (column `source`) by each expectation.

    Rows that are null in a column an expectation reads are left out of it and named, except where nulls are what it asks about.
    """
    asked = [(expected, *_evaluable(frame, expected)) for expected in suite]
    outcomes: dict[int, Outcome] = {}
    groups: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, (expected, rows, left_out) in enumerate(asked):
        if rows.empty:
            outcomes[number] = _outcome(expected, "not_evaluated", observed="no data", left_out=left_out)
        else:
            groups[left_out].append(number)
    batches = _batches() if groups else None
    for numbers in groups.values():  # those that read the same rows are judged in one go, which is half the time
        rows = asked[numbers[0]][1]
        found = _judge_rows(batches, rows, [(asked[number][0], asked[number][2]) for number in numbers])
        outcomes.update(zip(numbers, found, strict=True))
    return [outcomes[number] for number in sorted(outcomes)]


def _evaluable(frame: pd.DataFrame, expected: Expected) -> tuple[pd.DataFrame, tuple[str, ...]]:
    known = [column for column in expected.columns if column in frame.columns]
    if "null" in expected.expect or not known:
        return frame, ()
    usable = frame[known].notna().all(axis=1)
    return frame[usable], tuple(frame.loc[~usable, KEY])


def _batches() -> Any:
    """A batch definition in a context that lives in memory, says nothing and sends nothing."""
    os.environ.setdefault(
        "GX_ANALYTICS_ENABLED", "false"
    )  # before the import: older 1.x versions sent usage statistics
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its own imports of modules that Python is about to drop
        import great_expectations as gx
        from great_expectations.data_context.types.base import ProgressBarsConfig
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    return (
        context.data_sources.add_pandas("lake").add_dataframe_asset("day").add_batch_definition_whole_dataframe("day")
    )


def _judge_rows(batches: Any, rows: pd.DataFrame, asked: list[tuple[Expected, tuple[str, ...]]]) -> list[Outcome]:
    """The outcome of each, all judged by the same rows."""
    from great_expectations import ExpectationSuite
    from great_expectations.exceptions.exceptions import GreatExpectationsError
    from great_expectations.expectations.registry import get_expectation_impl

    outcomes: dict[int, Outcome] = {}
    made = []
    for number, (expected, left_out) in enumerate(asked):
        try:
            made.append(get_expectation_impl(expected.expect)(**expected.with_, meta={"number": number}))
        except (GreatExpectationsError, ValueError, TypeError, KeyError, AttributeError) as error:
            # a wrong name or argument in a suite: the check is broken, which says nothing of the data
            outcomes[number] = _crashed(expected, left_out, error)
    try:
        suite = ExpectationSuite(name="day", expectations=made)
        batch = batches.get_batch(batch_parameters={"dataframe": rows})
        wanted = {"result_format": "COMPLETE", "unexpected_index_column_names": [KEY]}
        results = batch.validate(suite, result_format=wanted).results if made else []
    except (GreatExpectationsError, ValueError, TypeError, KeyError, AttributeError) as error:
        if len(asked) > 1:  # one that takes the others down with it: each by itself
            return [_judge_rows(batches, rows, [one])[0] for one in asked]
        return [_crashed(*asked[0], error)]
    for result in results:
        number = result.expectation_config.meta["number"]
        expected, left_out = asked[number]
        broken = _exception(result.exception_info)
        outcomes[number] = (
            _outcome(expected, "crashed", left_out=left_out, exception=broken)
            if broken is not None
            else _evaluated(expected, bool(result.success), dict(result.result), len(rows), left_out)
        )
    return [outcomes[number] for number in range(len(asked))]


def _crashed(expected: Expected, left_out: tuple[str, ...], error: Exception) -> Outcome:
    return _outcome(expected, "crashed", left_out=left_out, exception=f"{type(error).__name__}: {error}")


def _evaluated(
    expected: Expected, success: bool, result: dict[str, Any], rows: int, left_out: tuple[str, ...]
) -> Outcome:
    bad = result.get("unexpected_index_list") or []
    failed = tuple(sorted({str(row[KEY]) for row in bad if KEY in row}))
    count = result.get("unexpected_count")
    shown = f"{count} of {rows} sources unexpected" if count is not None else f"observed {result.get('observed_value')}"
    return _outcome(
        expected,
        "fail" if not success else "incomplete" if left_out else "pass",
        observed=shown,
        count=count,
        share=count / rows if count is not None else None,
        left_out=left_out,
        failed=failed,
        examples=[{key: _plain(value) for key, value in row.items()} for row in bad[:EXAMPLES]],
    )


def _outcome(expected: Expected, state: State, **facts: Any) -> Outcome:
    return Outcome(expected.name, expected.check, expected.severity, expected.meaning, state, **facts)


def _exception(info: Mapping[str, Any] | None) -> str | None:
    """The exception's own text, from either of the two shapes it comes in: flat, or one for each metric."""
    if not info:
        return None
    entries = [info] if "raised_exception" in info else [entry for entry in info.values() if isinstance(entry, Mapping)]
    raised = [str(entry.get("exception_message")) for entry in entries if entry.get("raised_exception")]
    return "; ".join(dict.fromkeys(raised)) if raised else None


def _plain(value: Any) -> Any:
    """A NumPy scalar as Python's own."""
    return value.item() if hasattr(value, "item") else value
