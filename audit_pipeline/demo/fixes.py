"""The demo's stories that end in a verdict: errors and their fixes, a release that did harm, a risk that somebody accepted.

Belongs here: what is wrong from when to when, what people promise, and what the effect should be judged as. Not here: who decides and
in which words (`people`), or the errors' lines (`application`, `linux`).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json

from audit_pipeline.clock import DAY
from audit_pipeline.demo.cast import Cast, names
from audit_pipeline.demo.files import moment
from audit_pipeline.demo.operations import Operation
from audit_pipeline.demo.planted import Broken, Call, Case, Errors, Fix, HostLine, Silence
from audit_pipeline.demo.plot import SERVICES, Release

FEWEST_DAYS = 56
"""Three weeks before a fix and three after it, and a week at either end."""
ACCEPTED_DAYS = 9
_FEWEST_EXTRA = 10
"""Expected errors in a day below which a release's harm cannot be told from chance"""
_HOSTS = ("build-01", "web-02", "web-03", "web-04", "worker-02")
# message and own code of each error; the shop's errors have a stack, and numbers in them differ from time to time
_TROUBLE = {
    "checkout": (("price list of tenant {n} is older than the order", "pricing.py", "PriceListStale"), ("voucher {n} was redeemed twice", "vouchers.py", "VoucherConflict"), ("address check returned no street for order {n}", "addresses.py", "AddressIncomplete")),
    "payments": (("capture of payment {n} timed out after 3000 ms", "capture.py", "CaptureTimeout"), ("refund {n} has no ledger entry", "ledger.py", "LedgerMismatch"), ("gateway of bank {n} answered 502", "gateways.py", "GatewayDown")),
    "search": (("synonym file {n} could not be parsed", "synonyms.py", "SynonymError"), ("facet cache lost key {n}", "facets.py", "FacetMissing"), ("suggester ran out of memory at entry {n}", "suggest.py", "SuggesterFull")),
}  # fmt: skip


def make(cast: Cast) -> tuple[list[Case], list[Release]]:
    """The cases, and the releases that belong to them."""
    found: list[Case] = []
    releases: list[Release] = []
    if (risk := _accepted(cast)) is not None:
        found.append(risk)
    found.append(_rare(cast))
    if cast.plot.days < FEWEST_DAYS:
        return found, releases
    services = [SERVICES[at] for at in cast.rng.permutation(len(SERVICES)).tolist()]
    day = cast.plot.start + (cast.plot.days - 29 + cast.between(0, 2)) * DAY
    found += [_works(cast, services[0], day), _useless(cast, services[1], day), _campaign(cast, services[2], day)]
    for case, out in (_root_cause(cast), _harmful(cast)):
        if case is not None:
            found.append(case)
            releases += out
    found += _unknown(cast)
    return found, releases


def _last(cast: Cast) -> dt.date:
    """Decision date of the fixes that need three weeks after them: the last day but one."""
    return cast.plot.last - DAY


def _rate(cast: Cast) -> float:
    return float((14 + 26 * cast.scale) * cast.rng.uniform(0.8, 1.3))


def _works(cast: Cast, service: str, day: dt.date) -> Case:
    """An error as old as the second week; the fix was to halve it, and takes 60 % away."""
    before = _rate(cast)
    errors = _errors(cast, service, 0, cast.plot.start + cast.between(5, 7) * DAY, before, change=moment(day, 0), changed_to=0.4 * before)  # fmt: skip
    fix = Fix("rate", "recurring_errors", day, _last(cast), 0.5, f"Cache what {service} asks for, so that it is asked for less often.", change_id="CHG-2101")  # fmt: skip
    return _error_case("fix_that_works", errors, fix, "verified")


def _useless(cast: Cast, service: str, day: dt.date) -> Case:
    """On the same day another team's fix changes nothing."""
    errors = _errors(cast, service, 1, cast.plot.start + cast.between(5, 7) * DAY, _rate(cast))
    fix = Fix("rate", "recurring_errors", day, _last(cast), 0.5, f"Raise the timeouts of {service}.", change_id="CHG-2102")  # fmt: skip
    return _error_case("fix_without_effect", errors, fix, "ineffective")


def _campaign(cast: Cast, service: str, day: dt.date) -> Case:
    """An error comes, stays some days and ends by itself; on its last day somebody changes something."""
    first, end = day - cast.between(7, 9) * DAY, day + DAY
    errors = dataclasses.replace(_errors(cast, service, 2, first, 1.3 * _rate(cast)), last=moment(end, 0))
    fix = Fix("rate", "recurring_errors", end, _last(cast), 0.5, f"Restart the workers of {service}.", change_id="CHG-2103")  # fmt: skip
    case = _error_case("campaign_that_ends_by_itself", errors, fix, "not_verified")
    return dataclasses.replace(case, decoy=True, why="it ended by itself; the change on its last day had no part in it")


def _root_cause(cast: Cast) -> tuple[Case | None, list[Release]]:
    """A release brings an error that was never there; another release ends it."""
    release = _release(cast, 15, 27)
    if release is None:
        return None, []
    out = release.day + cast.between(9, 10) * DAY
    mended = Release(out, 11 * 3600, release.service, _next(release.version), "CHG-2104")
    start = moment(release.day, release.second + 60 * cast.between(2, 40))
    message, stack = f"field delivery_window is missing in answer of version {{n}} of {release.service}", _stack(release.service, "contract.py", "ContractBroken")  # fmt: skip
    errors = Errors(release.service, start, moment(out, mended.second), _rate(cast), message, stack)
    fix = Fix("recurrence", "recurring_errors", out, out + 10 * DAY, 1.0, f"Send the field again: {mended.version}.", covered_days=7, change_id=mended.change_id)  # fmt: skip
    case = _error_case("recurring_error_of_a_release", errors, fix, "verified")
    return dataclasses.replace(case, why=f"since {release.service} {release.version}", also=(*case.also, "release_worse")), [mended]  # fmt: skip


def _harmful(cast: Cast) -> tuple[Case | None, list[Release]]:
    """A release makes requests fail for a day and is taken back."""
    release = _release(cast, 30, cast.plot.days - 8)
    if release is None:
        return None, []
    back = release.day + DAY
    undone = Release(back, min(release.second + 3600 * cast.between(1, 4), 86_000), release.service, _next(release.version), "CHG-2105")  # fmt: skip
    share = float(cast.rng.uniform(0.06, 0.14))
    requests = 18_000 * cast.scale * 0.28 * 0.7 * {"checkout": 0.36, "payments": 0.16, "search": 0.48}[release.service]
    first, last = moment(release.day, release.second), moment(back, undone.second)
    broken = Broken(release.service, first, last, share, "unexpected end of message {n} from session store", _stack(release.service, "sessions.py", "SessionBroken"))  # fmt: skip
    enough = requests * share >= _FEWEST_EXTRA
    case = Case(
        "harmful_release", first, last, ("release_worse",), ("recurring_error", "release_worse"), services=(release.service, release.version), sources=("app",), about=_about(broken),
        detectable=enough, why=f"taken back by {undone.version}" if enough else f"{requests * share:.0f} errors a day more: fewer than {_FEWEST_EXTRA}",
        decisions=("acknowledge",), planted=(broken,),
    )  # fmt: skip
    return case, [undone]


def _release(cast: Cast, low: int, high: int) -> Release | None:
    """One of the weekly releases that no other case has used, on an ordinary day."""
    special = (*cast.plot.vanished, cast.plot.load_test, cast.plot.on_call)
    found = [one for one in cast.plot.releases if low <= cast.number(one.day) < high and one.day not in special]
    return found[cast.between(0, len(found) - 1)] if found else None


def _next(version: str) -> str:
    """`26.45.0` to `26.45.1`."""
    head, _, last = version.rpartition(".")
    return f"{head}.{int(last) + 1}"


def _rare(cast: Cast) -> Case:
    """An error of every fourth day."""
    service = SERVICES[cast.between(0, len(SERVICES) - 1)]
    first = cast.plot.start + 15 * DAY
    errors = Errors(service, moment(first, 0), moment(cast.plot.last + DAY, 0), 0.25, "thumbnail {n} has no colour profile", _stack(service, "images.py", "ProfileMissing"))  # fmt: skip
    return Case(
        "rare_error", errors.first, errors.last, ("recurring_error",), detectable=False, why="about one error in four days", services=(service,), sources=("app",), about=_about(errors),
        planted=(errors,),
    )  # fmt: skip


def _accepted(cast: Cast) -> Case | None:
    """A bucket is opened to everybody on purpose; the risk is accepted for some days, and nobody closes it."""
    high = cast.plot.days - ACCEPTED_DAYS - 6
    day = cast.day(15, high)
    if day is None:
        return None
    person = cast.person(lambda one: one.identity == "iam_user" and one.role in ("engineer", "support"))
    bucket = f"example-mobile-{('assets', 'logs', 'data')[cast.between(0, 2)]}"
    at = cast.at(day, 9, 15)
    policy = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}]})  # fmt: skip
    host = {"bucketName": bucket, "Host": f"{bucket}.s3.eu-central-1.amazonaws.com"}
    owned = (("AWS::S3::Bucket", f"arn:aws:s3:::{bucket}"),)
    acts = (
        Operation("s3", "DeleteBucketPublicAccessBlock", False, {**host, "publicAccessBlock": ""}, resources=owned),
        Operation("s3", "PutBucketPolicy", False, {**host, "policy": "", "bucketPolicy": json.loads(policy)}, resources=owned),
    )  # fmt: skip
    calls = tuple(Call(at + dt.timedelta(seconds=40 * row), person, act, person.addresses[0], person.agents[-1]) for row, act in enumerate(acts))  # fmt: skip
    return Case(
        "accepted_risk_that_expires", at, calls[-1].at, ("public_exposure",), ("anomaly", "security_service_disabled"), actors=names(person), services=(bucket,), sources=("cloudtrail",),
        decisions=("acknowledge", "accept"), planted=calls,
    )  # fmt: skip


def _unknown(cast: Cast) -> list[Case]:
    """A script is refused by sudo until its rights are mended; then the host's log is switched off, so nobody can tell."""
    start = cast.plot.start
    host = _HOSTS[cast.between(0, len(_HOSTS) - 1)]
    owner = cast.person(lambda one: one.role == "engineer")
    other = cast.person(lambda one: one.role == "sre")
    name, stopper = owner.account.split("@")[0], other.account.split("@")[0]
    first, fixed = start + cast.between(15, 18) * DAY, start + (cast.plot.days - 24 - cast.between(0, 2)) * DAY
    refused = [
        HostLine(moment(first + n * DAY, second), host, f"sudo: {name:>8} : command not allowed ; TTY=unknown ; PWD=/srv/deploy ; USER=root ; COMMAND=/usr/bin/docker system prune -f")
        for n in range((fixed - first).days)
        for second in sorted(cast.rng.integers(6 * 3600, 18 * 3600, cast.between(4, 7)).tolist())
    ]  # fmt: skip
    off = moment(fixed + DAY, 3600 * cast.between(9, 15))
    on = off + 8 * DAY
    sudo = "sudo: {:>8} : TTY=pts/0 ; PWD=/home/{} ; USER=root ; COMMAND=/usr/bin/systemctl {} rsyslog"
    stopped = HostLine(off, host, sudo.format(stopper, stopper, "stop"))
    started = HostLine(on, host, sudo.format(stopper, stopper, "start"))
    words = "Give the deployment script the one command it needs."
    fix = Fix("recurrence", "detections", fixed, fixed + 13 * DAY, 1.0, words, covered_days=10, change_id="CHG-2106")
    return [
        Case(
            "fix_nobody_can_judge", refused[0].at, refused[-1].at, ("sudo_refused",), ("anomaly",), actors=names(owner), services=(host,), sources=("linux",),
            fix=fix, verdict="inconclusive", decisions=_FIXED, planted=tuple(refused),
        ),
        Case(
            "logging_off_on_a_host", off, on, ("audit_trace_removed",), ("logging_changed", "anomaly", "privilege_escalation"), actors=names(other), services=(host,), sources=("linux",),
            decisions=("acknowledge",), planted=(stopped, Silence("linux", off + dt.timedelta(seconds=1), on, host), started),
        ),
    ]  # fmt: skip


_FIXED = ("acknowledge", "propose", "approve", "implement")


def _error_case(kind: str, errors: Errors, fix: Fix, verdict: str) -> Case:
    return Case(
        kind, errors.first, errors.last, ("recurring_error",), services=(errors.service,), sources=("app",), about=_about(errors), fix=fix, verdict=verdict, decisions=_FIXED, planted=(errors,),
    )  # fmt: skip


def _about(error: Errors | Broken) -> tuple[str, ...]:
    """The beginning of its message, and the name of its exception."""
    return (error.message.split("{n}")[0].strip(), error.stack.splitlines()[-2].split()[-1].removesuffix("(key)"))


def _errors(cast: Cast, service: str, which: int, first: dt.date, a_day: float, *, change: dt.datetime | None = None, changed_to: float = 0.0) -> Errors:  # fmt: skip
    message, file, error = _TROUBLE[service][which]
    return Errors(service, moment(first, 0), moment(cast.plot.last + DAY, 0), a_day, message, _stack(service, file, error), change, changed_to)  # fmt: skip


def _stack(service: str, file: str, error: str) -> str:
    return (
        f'Traceback (most recent call last):\n  File "/srv/{service}/handlers.py", line 71, in handle\n    return await step(request)\n'
        f'  File "/srv/{service}/{file}", line 128, in step\n    raise {error}(key)\n{service}.errors.{error}: {{n}}'
    )
