"""Sections of `pipeline.yaml` and the kinds of their values.

Belongs here: keys, defaults and what they mean, section by section. Not here: reading the file and its errors (`settings`).
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

NOT_YET = " (accepted, not used yet)"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def _duration(value: object) -> object:
    """`2h`, `400d`, `90m` to a timedelta."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+)\s*([smhdw])\s*", value)
        if not match:
            raise ValueError("write a whole number and a unit of s, m, h, d or w, such as 2h")
        return dt.timedelta(seconds=int(match[1]) * _UNITS[match[2]])
    return value


def _clock_time(value: object) -> object:
    if isinstance(value, int):  # YAML 1.1 reads an unquoted 03:00 as 180 (base 60)
        raise ValueError('put the time in quotes, such as "03:00"')
    return value


def _name(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", value):
        raise ValueError("use a name of lower-case letters, digits and _, beginning with a letter, at most 63")
    return value


Duration = Annotated[dt.timedelta, BeforeValidator(_duration)]
ClockTime = Annotated[dt.time, BeforeValidator(_clock_time)]
Name = Annotated[str, AfterValidator(_name)]


class Section(BaseModel):
    """A part of the configuration; an unknown key is an error, not a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Secret(Section):
    """Where a secret is kept; the secret itself never stands in the configuration."""

    env: str | None = Field(default=None, description="environment variable that holds it")
    file: str | None = Field(default=None, description="or a file whose first line it is")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("say where the secret is kept: either env: NAME or file: PATH")
        return self


class AuthSettings(Section):
    """How a collector says who it is: one of `api_key`, `bearer`, `username` with `password`, `headers`."""

    api_key: Secret | None = Field(default=None, description="API key, sent as `Authorization: ApiKey ...`")
    bearer: Secret | None = Field(default=None, description="token, sent as `Authorization: Bearer ...`")
    username: str | None = Field(default=None, description="user name of basic authentication")
    password: Secret | None = Field(default=None, description="its password")
    headers: dict[str, Secret] = Field(
        default_factory=dict,
        description="headers by name whose values are secrets, where a system has its own such as `DD-API-KEY`",
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        if sum(bool(given) for given in (self.api_key, self.bearer, self.username, self.headers)) > 1:
            raise ValueError("use one of api_key, bearer, username with password, or headers")
        for name in self.headers:
            if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", name):
                raise ValueError(f"{name[:64]!r} is no name of a header")
        return self


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("write an address such as https://search.example.com:9200")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("leave user, password and query out of the address: credentials go under auth")
    return value.rstrip("/")


class HttpSettings(Section):
    """A source that answers over HTTP; its certificate is always verified."""

    url: Annotated[str, AfterValidator(_url)] = Field(description="address, without credentials")
    auth: AuthSettings = AuthSettings()
    ca_file: str | None = Field(default=None, description="PEM file of a private authority; default: the system's")
    timeout: Duration = Field(default=dt.timedelta(seconds=60), description="how long one answer may take, whole")
    budget: Duration = Field(
        default=dt.timedelta(minutes=30), description="how long a collection may take, with all that is tried again"
    )
    rate: float | None = Field(
        default=None, gt=0, le=1000, description="requests a second, at most; null: as fast as it answers"
    )


def _patterns(value: object) -> object:
    found = [value] if isinstance(value, str) else value
    if isinstance(found, list) and not all(found):
        raise ValueError('a pattern is empty: write one such as "k8s-audit-*"')
    return found


class FormatRule(Section):
    """An entry of a list of formats: which records of a store it reads."""

    format: str = Field(description="record format, such as kubernetes_audit")
    when: dict[str, Annotated[list[str], BeforeValidator(_patterns), Field(min_length=1)]] | None = Field(
        default=None,
        min_length=1,
        description="what the store says of a record, by patterns with `*` and `?` (or lists of them), all of which must hold; without it: the format of the store's own records",
    )


class SourceSettings(Section):
    """A configured place that logs come from."""

    type: str = Field(description="collector, such as files")
    format: Annotated[
        Annotated[str, Tag("[name]")] | Annotated[list[FormatRule], Tag("[list]"), Field(min_length=1)],
        Discriminator(lambda value: "[list]" if isinstance(value, list) else "[name]"),
    ] = Field(
        description="record format, such as cloudtrail; of a store that holds other systems' records a list of `{format: NAME, when: {index: PATTERN}}`, of which the first that fits reads a record"
    )
    paths: list[str] = Field(
        default_factory=list, description="globs; relative to the configuration's folder; fsspec URLs are allowed"
    )
    storage: dict[str, Any] = Field(
        default_factory=dict, description="options for fsspec, such as endpoint_url; no secrets"
    )
    zone: str = Field(default="UTC", description="IANA time zone of stamps where the format has none")
    year: int | None = Field(
        default=None, description="year where the format has none and the file's time does not tell it"
    )
    team: Name | None = Field(default=None, description="who owns the source")
    settles_after: Duration = Field(
        default=dt.timedelta(hours=2), description="when a day's records have normally all arrived"
    )
    expected: list[str] = Field(default_factory=list, description="senders that must be heard")
    http: HttpSettings | None = Field(default=None, description="for collectors over HTTP: where, and as whom")
    options: dict[str, Any] = Field(
        default_factory=dict, description="what the collector of this type reads, and how: see its table below"
    )

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats that are configured: one, or those of a list, each once."""
        named = [self.format] if isinstance(self.format, str) else [rule.format for rule in self.format]
        return tuple(dict.fromkeys(named))


class TeamSettings(Section):
    """Who is told, and what they own."""

    mail: list[str] = Field(default_factory=list, description="addresses of the team")
    owns: list[str] = Field(default_factory=list, description="what is theirs: `source:NAME` or `service:NAME`")
    members: list[str] = Field(
        default_factory=list,
        description="people of the team as they sign decisions; a team of one may approve its own fixes, and that is said",
    )


class HoursSettings(Section):
    """Working hours, for what is off-hours."""

    zone: str = Field(default="UTC", description="IANA time zone")
    days: str = Field(default="mon-fri", description="working days")
    from_: ClockTime = Field(default=dt.time(7), alias="from", description="begin, local time")
    to: ClockTime = Field(default=dt.time(19), description="end, local time")
    holidays: str | None = Field(default=None, description="CSV file of days off: date and optionally zone,name")


class BudgetSettings(Section):
    """Ceilings on what asks for a person's time."""

    anomalies_per_day: int = Field(default=5, description="anomalies shown a day, at most")
    findings_per_team_and_day: int = Field(default=3, description="new findings for a team a day, at most")
    findings_per_day: int = Field(default=10, description="new findings a day, at most")


class PrivacySettings(Section):
    """Where people appear by name and where by pseudonym."""

    mail: Literal["names", "pseudonyms"] = Field(default="pseudonyms", description="in mails")
    page: Literal["names", "pseudonyms"] = Field(default="names", description="on pages")
    monthly: Literal["names", "pseudonyms"] = Field(default="pseudonyms", description="in monthly reports")
    key_file: str | None = Field(
        default=None, description="key of the pseudonyms; default: `pseudonyms.key` beside the state database"
    )


class ReportTo(Section):
    """Recipients of one kind of report."""

    to: list[str] = Field(default_factory=list, description="mail addresses")


class ReportSettings(Section):
    """Who gets which report, and how much is in the mail."""

    daily: ReportTo = ReportTo()
    weekly: ReportTo = Field(default=ReportTo(), description="the same for a week")
    monthly: ReportTo = Field(default=ReportTo(), description="the same for a month")
    base_url: str | None = Field(
        default=None, description="where reports can be opened in a browser, for links in mails"
    )
    detail: Literal["counts", "titles", "full"] = Field(
        default="titles", description="how much of a finding is in the mail"
    )


class SmtpSettings(Section):
    """The mail server; the password is read from the environment variable or the file named here."""

    host: str = Field(default="localhost", description="name or address")
    port: int = Field(default=25, description="port; usual: 25 with none, 587 with starttls, 465 with tls")
    security: Literal["none", "starttls", "tls"] = Field(default="none", description="how the line is encrypted")
    from_: str = Field(default="audit@localhost", alias="from", description="sender")
    username: str | None = Field(default=None, description="login; without one there is none")
    password_env: str = Field(default="SMTP_PASSWORD", description="environment variable that holds the password")
    password_file: str | None = Field(default=None, description="or a file whose first line is the password")
    ca_file: str | None = Field(default=None, description="PEM file of a private authority; default: the system's")
    timeout_s: float = Field(default=30, description="seconds to wait for each answer of the server")
    retry_for: Duration = Field(
        default=dt.timedelta(minutes=2), description="how long no connection and 4xx answers are tried again, a night"
    )


class RetentionSettings(Section):
    """How long evidence and tables are kept."""

    raw: Duration = Field(default=dt.timedelta(days=400), description="the bytes as collected" + NOT_YET)
    events: Duration = Field(default=dt.timedelta(days=400), description="tables made from them" + NOT_YET)
    runs: Duration = Field(
        default=dt.timedelta(days=400), description="Dagster's history of runs; the job `prune` deletes older ones"
    )


class DecisionSettings(Section):
    """How decisions reach the log, and whose signatures count."""

    allowed_signers: str = Field(
        default="allowed_signers",
        description="file of people and their SSH keys, as Git and ssh-keygen use it; may be absent",
    )
    folder: str = Field(
        default="decisions",
        description="folder with decisions as YAML files, for teams that decide by pull request; may be absent",
    )
