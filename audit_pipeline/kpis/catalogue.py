"""KPI files: what is measured, for whom, and how incomplete days count.

Belongs here: reading and checking the files. Not here: computing (`compute`). Shipped files lie beside this module; a user's own
lie in `kpis/` beside the configuration, and one with a shipped id replaces it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, PrivateAttr, ValidationError

from audit_pipeline.errors import UserError
from audit_pipeline.settings import Name, Section, Settings

SHIPPED = Path(__file__).parent
FOLDER = "kpis"


class KpiError(UserError):
    """A KPI that cannot be computed; names its file and why."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"{file}: this KPI was not computed: {reason}")
        self.file = file
        self.reason = reason


class Kpi(Section):
    """One KPI, as its file says."""

    id: Name
    title: str
    unit: str = Field(description="`count`, `share`, `s` (seconds) or a word of its own")
    direction: Literal["lower_is_better", "higher_is_better"]
    owner: str
    kind: Literal["count", "rate", "duration", "share"] = Field(
        description="count: n; rate and share: n of population, a rate with its Wilson interval; duration: the column `value`"
    )
    explanation: str = Field(description="what the number says and what not, in words")
    target: float | None = Field(default=None, description="what separates good from bad; none: not evaluated")
    scopes: list[Literal["all", "source", "service"]] = Field(
        default=["all"],
        description="`all` and `source` get a row also where the SQL gives none; services only where seen",
    )
    incomplete: Literal["shown", "counted"] = Field(
        default="shown",
        description="how incomplete days count: `shown` (partial: shown, not evaluated; missing: no value) or `counted` (they are what is measured)",
    )
    order: int = Field(default=100, description="place in reports")
    sql: str = Field(
        description=(
            "DuckDB over `events`, `rejects`, `completeness` (of the day) and `sources` (the configured ones) with `$day`, `$start` and `$end`; "
            "gives `scope` (`all`, `source:NAME`, `service:NAME`), `n`, `population`, `sources` and, for a duration, `value`"
        )
    )
    _file: Path = PrivateAttr(default=Path())

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
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
        kpi = Kpi.model_validate(data)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise KpiError(file, " ".join(str(error).split())) from None
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, item['loc'])) or 'the file'}: {item['msg']}" for item in error.errors())
        raise KpiError(file, "; ".join(wrong)) from None
    kpi._file = file
    return kpi
