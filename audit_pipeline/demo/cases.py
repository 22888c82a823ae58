"""The demo's stories and decoys of one day: what is planted, drawn from the seed, and what should come of it.

Belongs here: intrusions, mistakes, decoys, and those too weak to be found. Not here: stories with a fix (`fixes`), the lines (each
source's own module). Whether a case can be found is decided here, by how it is made, and never by looking at what was found.
Acts follow MITRE ATT&CK: T1110 (guessing), T1098 and T1548 (more rights), T1530 (data from cloud storage), T1562.008 (logging off).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from zoneinfo import ZoneInfo

from audit_pipeline.clock import DAY, UTC
from audit_pipeline.demo import fixes
from audit_pipeline.demo.cast import Cast, names
from audit_pipeline.demo.company import Actor, Company
from audit_pipeline.demo.operations import ACCOUNT, CATALOGUE, Operation
from audit_pipeline.demo.planted import Call, Case, Cases, Kubectl, SignIn, Silence
from audit_pipeline.demo.plot import ORDINARY_DAYS, SETTLED_IN, Plot

TESTER_ADDRESS = "198.51.100.200"
"""From where the approved penetration test comes; nobody else does."""
_TESTER = "pentest"
_EVERYTHING = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
_IAM = f"arn:aws:iam::{ACCOUNT}:"
_TRAIL = f"arn:aws:cloudtrail:eu-central-1:{ACCOUNT}:trail/company"
_SECOND = dt.timedelta(seconds=1)


def make(company: Company, plot: Plot, seed: int, events_a_day: float, taken: set[dt.date]) -> Plot:
    """The plot with its cases and their releases; without any where the demo is too short for them (`SETTLED_IN` days).

    Args:
        company: who there is.
        plot: the special days so far; one without stories stays as it is.
        seed: whatever is drawn is drawn from it.
        events_a_day: of all sources, on average; errors of a quieter shop are fewer.
        taken: days on which something else happens already.
    """
    if plot.on_call is None or plot.days < SETTLED_IN:
        return plot
    special = {day for day in (plot.on_call, plot.load_test, plot.late, *plot.vanished, *plot.calendar.hired.values()) if day}  # fmt: skip
    cast = Cast(company, plot, seed, events_a_day, taken | special)
    found, releases = fixes.make(cast)
    tester = _tester(company)
    for tell in (_insider, _guessing, _escalation, _logging_off, _weak_guessing, _slow_reader, _closing):
        if (case := tell(cast)) is not None:
            found.append(case)
    if (test := _penetration_test(cast, tester)) is not None:
        found.append(test)
    found += _ordinary(plot)
    found.sort(key=lambda case: (case.first, case.kind))
    strangers = (tester,) if test is not None else ()
    ordered = tuple(sorted((*plot.releases, *releases), key=lambda one: (one.day, one.second)))
    return dataclasses.replace(plot, releases=ordered, cases=Cases(tuple(found), strangers))


def _guessing(cast: Cast) -> Case | None:
    """Somebody outside guesses a password, gets in and looks around."""
    day = cast.day(ORDINARY_DAYS, cast.plot.days - 2)
    if day is None:
        return None
    victim = dataclasses.replace(cast.person(lambda one: one.identity == "iam_user" and one.role != "admin"), mfa=False)
    address, n = cast.outside(), cast.between(15, 45)
    times = cast.times(cast.at(day, 1, 21), cast.between(240, 540), n)
    tried = [SignIn(at, victim, address, "wrong_password") for at in times]
    inside = times[-1] + cast.between(5, 60) * _SECOND
    after = cast.times(inside + 30 * _SECOND, 1_200, cast.between(6, 20))
    looked = ("sts:GetCallerIdentity", "s3:ListBuckets", "iam:ListUsers", "iam:ListRoles", "secretsmanager:ListSecrets", "ec2:DescribeInstances")  # fmt: skip
    calls = [_call(at, victim, CATALOGUE[looked[row % len(looked)]], address) for row, at in enumerate(after)]
    return Case(
        "guessing_that_succeeds", times[0], after[-1], ("signin_success_after_failures",),
        ("signin_burst", "internet_guessing", "password_spraying", "new_network", "off_hours_access", "anomaly", "secrets_read", "refused_access_burst"),
        actors=names(victim), services=("signin.amazonaws.com",), sources=("cloudtrail",), decisions=("acknowledge", "comment"),
        planted=(*tried, SignIn(inside, victim, address, "success"), *calls),
    )  # fmt: skip


def _escalation(cast: Cast) -> Case | None:
    """Somebody gives themselves all rights, in one of four ways, after being refused a few times."""
    day = cast.day(ORDINARY_DAYS, cast.plot.days - 2)
    if day is None:
        return None
    way = cast.between(0, 3)
    if way == 3:
        person = cast.person(lambda one: one.identity == "sso" and one.role == "engineer")
        at = cast.at(day, 9, 15)
        return Case(
            "privilege_escalation", at, at + 3 * _SECOND, ("cluster_admin_granted", "privilege_escalation", "new_admin"), ("anomaly",), actors=names(person),
            sources=("kubernetes",), decisions=("acknowledge",),
            planted=(Kubectl(at, person, "create", "rbac.authorization.k8s.io", "clusterrolebindings", f"cluster-admin-{person.account.split('.')[0]}", person.addresses[0]),),
        )  # fmt: skip
    person = cast.person(lambda one: one.identity == "iam_user" and one.role in ("engineer", "sre", "support"))
    at = cast.at(day, 8, 15)
    asked = [_call(at + 20 * row * _SECOND, person, CATALOGUE[key], person.addresses[0], refused=True) for row, key in enumerate(("iam:ListRoles", "iam:ListUsers", "iam:ListAccessKeys")[: cast.between(1, 3)])]  # fmt: skip
    ways = (
        _write("iam", "AttachUserPolicy", {"userName": person.account, "policyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}),
        _write("iam", "PutUserPolicy", {"userName": person.account, "policyName": "temporary", "policyDocument": _EVERYTHING}),
        _write("iam", "CreatePolicyVersion", {"policyArn": f"{_IAM}policy/developers", "policyDocument": _EVERYTHING, "setAsDefault": True}),
    )  # fmt: skip
    done = at + dt.timedelta(seconds=cast.between(90, 400))
    return Case(
        "privilege_escalation", at, done, ("privilege_escalation", "new_admin"), ("anomaly", "refused_access_burst", "refused_many_operations", "discovery_by_listing", "discovery_then_rights"), actors=names(person),
        services=("iam.amazonaws.com",), sources=("cloudtrail",), decisions=("acknowledge",),
        planted=(*asked, _call(done, person, ways[way], person.addresses[0])),
    )  # fmt: skip


def _insider(cast: Cast) -> Case | None:
    """Somebody whose own days are daytime reads very much at night, from home, in one to three nights."""
    day = cast.day(min(36, cast.plot.days - 12), cast.plot.days - 5)
    if day is None:
        return None
    person = cast.person(lambda one: one.role in ("analyst", "finance", "support") and one.zone.startswith("Europe"))
    bucket = cast.company.things["bucket"][cast.between(0, len(cast.company.things["bucket"]) - 1)]
    planted: list[Call] = []
    for night in range(cast.between(1, 3)):
        local = dt.datetime.combine(day + night * DAY, dt.time(cast.between(1, 3), cast.between(0, 40)), ZoneInfo(person.zone))  # fmt: skip
        planted += [_call(at, person, _read_object(bucket), person.addresses[-1]) for at in cast.times(local.astimezone(UTC), 3_000, cast.between(160, 420))]  # fmt: skip
    return Case(
        "insider_at_night", planted[0].at, planted[-1].at, ("off_hours_access", "mass_read", "anomaly"), ("new_network",), actors=names(person), services=(bucket,),
        sources=("cloudtrail",), decisions=("acknowledge", "comment"), planted=tuple(planted),
    )  # fmt: skip


def _logging_off(cast: Cast) -> Case | None:
    """Somebody stops the trail; hours later an administrator starts it again, and nothing in between was logged."""
    day = cast.day(ORDINARY_DAYS, cast.plot.days - 2)
    if day is None:
        return None
    person = cast.person(lambda one: one.identity == "iam_user" and one.role in ("engineer", "sre"))
    keeper = cast.person(lambda one: one.role == "admin")
    at = cast.at(day, 9, 14)
    again = at + dt.timedelta(seconds=cast.between(2 * 3600, 5 * 3600))
    stop, start = (_call(when, who, _write("cloudtrail", name, {"name": _TRAIL}, everywhere=False), who.addresses[0]) for when, who, name in ((at, person, "StopLogging"), (again, keeper, "StartLogging")))  # fmt: skip
    return Case(
        "logging_off", at, again, ("logging_stopped",), ("logging_changed", "security_service_disabled", "anomaly"), actors=(*names(person), *names(keeper)),
        services=("cloudtrail.amazonaws.com", _TRAIL), sources=("cloudtrail",), decisions=("acknowledge",),
        planted=(stop, Silence("cloudtrail", at + _SECOND, again), start),
    )  # fmt: skip


def _weak_guessing(cast: Cast) -> Case | None:
    """Three wrong passwords and the right one: what somebody does who mistyped."""
    day = cast.day(ORDINARY_DAYS, cast.plot.days - 2)
    if day is None:
        return None
    victim = cast.person(lambda one: one.identity == "iam_user" and one.role != "admin")
    times = cast.times(cast.at(day, 8, 15), 90, 3)
    planted = (*(SignIn(at, victim, victim.addresses[-1], "wrong_password") for at in times), SignIn(times[-1] + 20 * _SECOND, victim, victim.addresses[-1], "success"))  # fmt: skip
    return Case(
        "guessing_that_looks_like_mistyping", times[0], planted[-1].at, ("signin_success_after_failures",), detectable=False,
        why="three failures from the person's own address; one sign-in in fourteen begins with one to three", actors=names(victim), sources=("cloudtrail",), planted=planted,
    )  # fmt: skip


def _slow_reader(cast: Cast) -> Case | None:
    """A few objects a day too many, in working hours, for two weeks."""
    first = cast.day(ORDINARY_DAYS + 7, cast.plot.days - 16)
    if first is None:
        return None
    person = cast.person(lambda one: one.role == "analyst")
    bucket = cast.company.things["bucket"][cast.between(0, len(cast.company.things["bucket"]) - 1)]
    days = [day for day in (first + n * DAY for n in range(14)) if cast.plot.calendar.is_working(day)]
    planted = [_call(at, person, _read_object(bucket), person.addresses[0]) for day in days for at in cast.times(cast.at(day, 9, 14), 3_600, cast.between(1, 3))]  # fmt: skip
    return Case(
        "slow_reader", planted[0].at, planted[-1].at, ("mass_read", "anomaly"), detectable=False,
        why="one to three reads a day more than the person's own, in working hours: within the ordinary spread", actors=names(person), services=(bucket,),
        sources=("cloudtrail",), planted=tuple(planted),
    )  # fmt: skip


def _penetration_test(cast: Cast, tester: Actor) -> Case | None:
    """A test that was approved and announced: its address is in a noise rule for that day."""
    day = cast.day(ORDINARY_DAYS, cast.plot.days - 2)
    if day is None:
        return None
    asked = ("iam:ListUsers", "iam:ListRoles", "s3:ListBuckets", "s3:GetBucketPolicy", "s3:GetBucketAcl", "ec2:DescribeInstances", "ec2:DescribeSecurityGroups", "secretsmanager:ListSecrets", "kms:DescribeKey")  # fmt: skip
    times = cast.times(cast.at(day, 8, 9), 6 * 3600, cast.between(90, 180))
    calls = [_call(at, tester, CATALOGUE[asked[row % len(asked)]], TESTER_ADDRESS, refused=row % 4 != 0) for row, at in enumerate(times)]  # fmt: skip
    return Case(
        "penetration_test", times[0], times[-1], decoy=True, why="approved; its account and address were announced (noise/penetration_test.yaml)",
        actors=names(tester), sources=("cloudtrail",), decisions=("false_positive",), also=("refused_access_burst", "refused_many_operations", "discovery_by_listing", "anomaly", "new_network", "mass_read"), planted=tuple(calls),
    )  # fmt: skip


def _closing(cast: Cast) -> Case | None:
    """The last two working days of a month, the quarter's where there is one: all of finance reads much."""
    plot = cast.plot
    ends = [day for day in (plot.start + n * DAY for n in range(ORDINARY_DAYS, plot.days - 2)) if (day + DAY).day == 1]
    if not ends:
        return None
    end = next((day for day in ends if day.month % 3 == 0), ends[-1])
    days = [day for day in (end - n * DAY for n in range(6)) if plot.calendar.is_working(day)][:2][::-1]
    people = [person for person in cast.company.people if person.role == "finance"]
    low, high = (max(4, round(n * cast.scale)) for n in (25, 50))
    planted = [
        _call(at, person, _read_object("example-payments-data"), person.addresses[0])
        for day in days
        for person in people
        for at in cast.times(cast.at(day, person.hours[0] + 1, person.hours[0] + 2), 4 * 3600, cast.between(low, high))
    ]
    return Case(
        "quarter_end", min(one.at for one in planted), max(one.at for one in planted), decoy=True, why="the books are closed: everyone in finance reads more, in their own hours",
        actors=tuple(name for person in people for name in names(person)), sources=("cloudtrail",), decisions=("false_positive",), also=("mass_read", "anomaly"),
        planted=tuple(planted),
    )  # fmt: skip


def _ordinary(plot: Plot) -> list[Case]:
    """The decoys that the plot has by itself."""

    def whole(kind: str, day: dt.date, why: str, sources: tuple[str, ...], actors: tuple[str, ...] = (), services: tuple[str, ...] = ()) -> Case:  # fmt: skip
        start = dt.datetime.combine(day, dt.time(), UTC)
        return Case(kind, start, start + DAY - _SECOND, decoy=True, why=why, actors=actors, services=services, sources=sources, decisions=("false_positive",))  # fmt: skip

    found = []
    if plot.on_call is not None:
        person = plot.on_call_person
        found.append(whole("on_call_night", plot.on_call, "somebody on call mends an outage", ("linux", "kubernetes", "app"), names(person) if person else (), ("payments", "worker-01", "bastion-01")))  # fmt: skip
    if plot.new_hire is not None:
        found.append(whole("new_hire", plot.calendar.hired[plot.new_hire.account], "somebody's first day", ("linux", "cloudtrail", "kubernetes"), names(plot.new_hire)))  # fmt: skip
    if plot.load_test is not None:
        found.append(
            whole("load_test", plot.load_test, "the shop's own load test", ("app",), ("loadtest",), ("search",))
        )
    return found


def _tester(company: Company) -> Actor:
    """The account of the testers; as many of its calls are refused as they like."""
    like = next(person for person in company.people if person.identity == "iam_user")
    return dataclasses.replace(like, account=_TESTER, person="Penetration testers", role="tester", team="identity", addresses=(TESTER_ADDRESS,), agents=("aws-cli/2.17.32",), mfa=False)  # fmt: skip


def _call(at: dt.datetime, actor: Actor, operation: Operation, address: str, *, refused: bool = False) -> Call:  # fmt: skip
    return Call(at, actor, operation, address, actor.agents[-1], refused)


def _write(service: str, name: str, request: dict[str, object], *, everywhere: bool = True) -> Operation:
    return Operation(service, name, False, request, everywhere=everywhere)


def _read_object(bucket: str) -> Operation:
    """`GetObject` of one bucket."""
    like = CATALOGUE["s3:GetObject"]
    request = {**like.request, "bucketName": bucket, "Host": f"{bucket}.s3.$region.amazonaws.com"}
    resources = tuple((kind, name.replace("$bucket", bucket)) for kind, name in like.resources)
    return dataclasses.replace(like, request=request, resources=resources)
