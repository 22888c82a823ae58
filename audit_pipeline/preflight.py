"""`check`: whether a configuration can work, before the first night.

Belongs here: trying configuration, paths, lake, state, SMTP, and saying what works on day 1, 7 and 28. Not here: running anything.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from audit_pipeline.clock import SystemClock
from audit_pipeline.errors import UserError
from audit_pipeline.lake.store import Lake
from audit_pipeline.settings import Settings
from audit_pipeline.sources.base import Probe
from audit_pipeline.sources.collect import format_of, source_of
from audit_pipeline.state import open_state

if TYPE_CHECKING:
    from audit_pipeline.noise.rules import NoiseRule

SOON = dt.timedelta(days=14)
"""before a noise rule's end it is told of"""
WHEN = (
    (
        "day 1",
        "collection, evidence, OCSF events, accounting, unreadable input, rules, reports; silence cannot be judged yet (`unknown`)",
    ),
    ("day 3", "silence against the source's own gaps, marked `baseline n of 28 days`"),
    ("day 7", "trends against the days before"),
    ("day 28", "silence and volume against the same weekdays and hours; trends against the same weekdays"),
)
"""What a new source can be judged by, and from when."""


def check(settings: Settings) -> list[Probe]:
    """Try everything that a night needs; nothing is changed."""
    probes = [
        Probe("configuration", True, f"{settings.file}: {len(settings.sources)} sources, {len(settings.teams)} teams")
    ]
    for name in settings.sources:
        probes += _source(settings, name)
    probes += [
        _lake(settings),
        _state(settings),
        _smtp(settings),
        _context(settings),
        *_own(settings),
        *_controls(settings),
    ]
    return probes


def _source(settings: Settings, name: str) -> list[Probe]:
    try:
        format_of(settings, name)
        return [
            Probe(f"source {name}: {probe.what}", probe.ok, probe.detail) for probe in source_of(settings, name).probe()
        ]
    except UserError as error:
        return [Probe(f"source {name}", False, str(error))]


def _own(settings: Settings) -> list[Probe]:
    """Rules and KPIs, shipped and the user's own: those that cannot run stop no night, so they are told here."""
    from audit_pipeline.detections.run import rule_errors, rules
    from audit_pipeline.effects.adjustments import load as load_adjustments
    from audit_pipeline.kpis.catalogue import load
    from audit_pipeline.noise.rules import load as load_noise
    from audit_pipeline.quality.suite import load_usable

    kpis, kpi_errors = load(settings)
    noise, noise_errors = load_noise(settings)
    today = (
        settings.clock_for(settings.start).now().date() if settings.clock == "simulated" else SystemClock().now().date()
    )
    broken = [Probe("noise rule", False, str(error)) for error in noise_errors]
    broken += [Probe("expectations", False, str(error)) for error in load_usable(settings)[1].values()]
    broken += [
        Probe("noise rule", one.rule.expires > today, _until(one.rule, today))
        for one in noise
        if one.rule.expires <= today + SOON
    ]
    broken += [Probe("rule", False, str(error)) for error in rule_errors(settings)]
    broken += [Probe("kpi", False, str(error)) for error in kpi_errors]
    broken += [Probe("adjustment", False, str(error)) for error in load_adjustments(settings)[1]]
    counts = f"{len(rules(settings))} rules, {len(kpis)} KPIs can run; {len(noise)} noise rules"
    return [Probe("rules and KPIs", True, counts), *broken]


def _controls(settings: Settings) -> list[Probe]:
    """Control files and the scope: what the monthly report would say of them is said here."""
    from audit_pipeline.reports.controls.catalogue import ControlsError, frameworks, scopes

    known, errors = frameworks(settings)
    broken = [Probe("controls", False, str(error)) for error in errors]
    try:
        declared = scopes(settings)
    except ControlsError as error:
        return [*broken, Probe("scope", False, str(error))]
    unknown = sorted(set(declared) - {one.framework for one in known})
    if unknown:
        broken.append(
            Probe(
                "scope",
                False,
                f"{', '.join(unknown)}: no such framework; known are {', '.join(one.framework for one in known)}",
            )
        )
    absent = sorted({name for one in declared.values() for name in one.sources} - set(settings.sources))
    if absent:
        broken.append(Probe("scope", False, f"{', '.join(absent)}: no such source is configured"))
    return [Probe("controls", True, f"{len(known)} frameworks, scope declared for {len(declared)}"), *broken]


def _context(settings: Settings) -> Probe:
    """Inventory, hours, holidays, releases: read as a night would."""
    from audit_pipeline.context.hours import off_hours
    from audit_pipeline.context.identities import identities
    from audit_pipeline.context.releases import releases

    try:
        listed, released = identities(settings), releases(settings)
        off_hours(settings, "NULL")
    except UserError as error:
        return Probe("context", False, str(error))
    people = "no inventory of identities" if listed is None else f"{listed.num_rows} identities"
    hours = "working hours" if "hours" in settings.model_fields_set else "no working hours"
    return Probe("context", True, f"{people}, {released.num_rows} releases, {hours}")


def _until(rule: NoiseRule, today: dt.date) -> str:
    word = "expired" if rule.expires <= today else "expires"
    return f"{rule.id} {word} on {rule.expires}: look at it with {rule.owner}, then move the date or remove the file"


def _lake(settings: Settings) -> Probe:
    try:
        Lake.open(settings.lake_url).probe()
    except UserError as error:
        return Probe("lake", False, str(error))
    return Probe("lake", True, f"{settings.lake_url}: can be written")


def _state(settings: Settings) -> Probe:
    try:
        engine = open_state(settings.state_url_resolved)
        engine.dispose()
    except UserError as error:
        return Probe("state", False, str(error))
    return Probe("state", True, "decisions and deliveries can be kept")


def _smtp(settings: Settings) -> Probe:
    if settings.smtp is None:
        return Probe("smtp", True, "not configured: mails are written as .eml only")
    from audit_pipeline.mail.smtp import probe

    smtp, wrong = settings.smtp, probe(settings)
    if wrong:
        told = f"{smtp.host}:{smtp.port}: {wrong}. Mend the keys below smtp, or remove smtp to write mails only."
        return Probe("smtp", False, told)
    return Probe("smtp", True, f"{smtp.host}:{smtp.port} answers")
