"""KPI files: what is measured, for whom, and how incomplete days count.

Belongs here: reading and checking the files. Not here: their SQL (`statement`) or computing (`compute`). Shipped files lie beside
this module; a user's own lie in `kpis/` beside the configuration, and one with a shipped id replaces it.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, PrivateAttr, ValidationError, model_validator

from audit_pipeline.errors import UserError
from audit_pipeline.sections import Name, Section
from audit_pipeline.settings import Settings

SHIPPED = Path(__file__).parent
FOLDER = "kpis"
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""the one in C reads the shipped files in a tenth of the time"""
ATTEMPTS = 'sum(greatest(coalesce("count", 1), 1))'
"""what n and population are made of where a file says nothing: events, a line that stands for several counting as so many"""


class KpiError(UserError):
    """A KPI that cannot be computed; names its file and why."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"{file}: this KPI was not computed: {reason}")
        self.file = file
        self.reason = reason


class Kpi(Section):
    """One KPI, as its file says: conditions over events (`population`, `counted`), cases of another kind (`cases`), or SQL of its own (`sql`, `drill`)."""

    id: Name
    title: str
    group: Literal["security", "reliability", "changes", "response", "logging"] = Field(
        default="security", description="where it stands in reports"
    )
    unit: str = Field(description="`count`, `share`, `s` (seconds) or a word of its own")
    direction: Literal["lower_is_better", "higher_is_better", "neutral"]
    owner: str
    kind: Literal["count", "rate", "share", "duration", "median_time"] = Field(
        description=(
            "count: n; rate and share: n of population, a rate with its Wilson interval; duration: the column `value`; "
            "median_time: Kaplan-Meier median of cases, open ones censored"
        )
    )
    explanation: str = Field(description="what the number says and what not, in words")
    target: float | None = Field(default=None, description="what separates good from bad; none: not evaluated")
    interval: Literal["poisson"] | None = Field(
        default=None,
        description="of a count: `poisson` where what is counted happens independently; a burst of attempts does not",
    )
    scopes: list[Literal["all", "source", "team", "service"]] = Field(
        default=["all"],
        description="`all` and `source` get a row also where nothing was found; teams and services only where seen",
    )
    team: Literal["owner", "actor"] = Field(
        default="owner",
        description="whose number it is: `owner` of the service, else of the source; or the team of the `actor`",
    )
    incomplete: Literal["shown", "counted", "apart"] = Field(
        default="shown",
        description=(
            "how incomplete days count: `shown` (partial: shown, not evaluated; missing: no value), `counted` (they are what is "
            "measured), `apart` (the number is not made of the day's events)"
        ),
    )
    order: int = Field(default=100, description="place in reports")
    look_back: int = Field(default=0, ge=0, le=92, description="days before `$start` whose events the SQL may read too")
    past: str | None = Field(
        default=None,
        description="WHERE over events: the only ones that SQL with `look_back` reads, so that they are read once",
    )
    window: int = Field(default=1, ge=1, le=92, description="days that a day's value is made of; they end with the day")
    events: str | None = Field(
        default=None, description="SELECT that stands for `events`, where the conditions need columns of their own"
    )
    population: str | None = Field(default=None, description="WHERE over events: those that are looked at")
    cases: str | None = Field(
        default=None,
        description="instead of `population`: SELECT of what is looked at, with `source` and a column for each scope; of a median_time with `seconds` and `done`",
    )
    counted: str = Field(default="true", description="WHERE: those of the population or of the cases that count")
    each: str | None = Field(
        default=None,
        description=f"aggregate that makes n and population; default: `{ATTEMPTS}` of events, `count(*)` of cases",
    )
    of: str | None = Field(default=None, description="aggregate that makes the population; default: as `each`")
    value: str | None = Field(default=None, description="aggregate: the value of a duration")
    sql: str | None = Field(
        default=None,
        description=(
            "instead of both: DuckDB over the tables of `audit-pipeline query`, `sources` and `days`, with `$day`, `$start`, `$end` "
            "and `$as_of`; gives `scope`, `n`, `population`, `sources` and, for a duration, `value`; for a median_time a row a case: "
            "`scope`, `seconds`, `done`"
        ),
    )
    drill: str | None = Field(default=None, description="with `sql`: SELECT of the rows that were counted, one each")
    details: str | None = Field(
        default=None,
        description="SELECT (also over `cases`) of at most five rows that explain the number; kept beside it",
    )
    _file: Path = PrivateAttr(default=Path())

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum(one is not None for one in (self.population, self.cases, self.sql)) != 1:
            raise ValueError("give one of population (conditions over events), cases and sql")
        if self.sql is None and (self.kind == "duration") != bool(self.value):
            raise ValueError("value stands with kind duration and only there")
        if self.population is not None and self.kind == "median_time":
            raise ValueError("a median_time needs cases, or sql")
        return self

    @property
    def file(self) -> Path:
        """The file it was read from."""
        return self._file


def catalogue(settings: Settings | None = None) -> dict[str, Kpi]:
    """The KPIs by id, in the order of reports; without settings the shipped ones alone."""
    return load(settings)[0]


def load(settings: Settings | None = None) -> tuple[dict[str, Kpi], list[KpiError]]:
    """The KPIs by id, in the order of reports, and the files that are none."""
    found: dict[str, Kpi] = {}
    errors: list[KpiError] = []
    for folder in [SHIPPED, *([settings.root / FOLDER] if settings else [])]:
        mine: dict[str, Kpi] = {}
        for file in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
            try:
                kpi = read(file)
            except KpiError as error:
                errors.append(error)
                continue
            if kpi.id in mine:
                errors.append(KpiError(file, f"its id {kpi.id} is also that of {mine[kpi.id].file}; give it its own"))
            mine.setdefault(kpi.id, kpi)
        found.update(mine)
    return dict(sorted(found.items(), key=lambda item: (item[1].order, item[0]))), errors


def read(file: Path) -> Kpi:
    """One KPI file.

    Raises:
        KpiError: it cannot be read, or a key is missing, unknown or wrong; names the key.
    """
    try:
        return _parsed(file, file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise KpiError(file, " ".join(str(error).split())) from None
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, item['loc'])) or 'the file'}: {item['msg']}" for item in error.errors())
        raise KpiError(file, "; ".join(wrong)) from None


@functools.lru_cache(maxsize=128)
def _parsed(file: Path, text: str) -> Kpi:
    """Parsed once for each text of the file: a night asks for all of them four times."""
    data: Any = yaml.load(text, _LOADER)  # noqa: S506 - a SafeLoader
    kpi = Kpi.model_validate(data)
    kpi._file = file
    return kpi
