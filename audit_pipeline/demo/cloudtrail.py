"""CloudTrail records as AWS writes them: one line of JSON text an event, with the vendor's names in the vendor's order.

Belongs here: the wire format of a record. Not here: who acts and when (`company`, `rhythm`), or files (`delivery`).
Source: AWS CloudTrail user guide, "CloudTrail record contents" and "AWS Management Console sign-in events". Text is made from parts
that are rendered once, since a demo writes hundreds of thousands of records; all that is not fixed text goes through `json.dumps`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from audit_pipeline.clock import rfc3339
from audit_pipeline.demo.company import Actor, Company
from audit_pipeline.demo.operations import ACCOUNT, CATALOGUE, GLOBAL_REGION, REGIONS, Operation, fill

VARIANTS = 12
"""How many different requests of one operation and region there are."""
Outcome = Literal["success", "wrong_password", "no_such_user"]
_IAM = f"arn:aws:iam::{ACCOUNT}:"
_STS = f"arn:aws:sts::{ACCOUNT}:"
_HIDDEN = "HIDDEN_DUE_TO_SECURITY_REASONS"
_TLS = {"tlsVersion": "TLSv1.3", "cipherSuite": "TLS_AES_128_GCM_SHA256"}


def dumps(value: Any) -> str:
    """Compact JSON, ASCII only, as CloudTrail has it."""
    return json.dumps(value, separators=(",", ":"))


@dataclass(frozen=True)
class Form:
    """The parts of a record that depend on operation and region alone; each ends with a comma."""

    called: str
    answered: str
    refused: str
    """with `$arn` where the message names the caller"""
    tail: str
    tls: str
    """without a comma"""


class Forms:
    """Requests and answers of every operation, rendered once for the things of one company."""

    def __init__(self, company: Company, seed: int, created: dt.date) -> None:
        self._company = company
        self._seed = seed
        self._created = f"{created:%b} {created.day}, {created.year} 4:00:00 AM"
        self._known: dict[tuple[str, int], list[Form]] = {}

    def of(self, key: str, region: int) -> list[Form]:
        """The `VARIANTS` forms of an operation of the catalogue in `REGIONS[region]`."""
        found = self._known.get((key, region))
        if found is None:
            rng = random.Random(f"{self._seed} {key} {region}")  # noqa: S311 - a demo, not a secret
            found = [self._form(CATALOGUE[key], REGIONS[region], rng) for _ in range(VARIANTS)]
            self._known[key, region] = found
        return found

    def planted(self, operation: Operation, region: int, seed: str) -> Form:
        """The form of an operation that the catalogue need not have."""
        return self._form(operation, REGIONS[region], random.Random(seed))  # noqa: S311 - a demo, not a secret

    def _form(self, operation: Operation, region: str, rng: random.Random) -> Form:
        drawn: dict[str, str] = {"region": region, "created": self._created}

        def draw(word: str) -> str:
            if word not in drawn:
                drawn[word] = (
                    rng.choice(self._company.things[word]) if word in self._company.things else _digits(word, rng)
                )
            return drawn[word]

        request, response = dumps(fill(operation.request, draw)), dumps(fill(operation.response, draw))
        code, message = operation.error or _denied(operation)
        return Form(
            called=f'"eventSource":"{operation.source}","eventName":"{operation.name}","awsRegion":"{region}",',
            answered=f'"requestParameters":{request},"responseElements":{response},',
            refused=f'"errorCode":"{code}","errorMessage":{dumps(message if "$arn" in message else fill(message, draw))},'
            f'"requestParameters":{request},"responseElements":null,',
            tail=_tail(operation, draw),
            tls=_tls(operation, region),
        )


def _digits(word: str, rng: random.Random) -> str:
    if word == "uuid":
        return str(_uuid4(rng.randbytes(16).hex()))
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" if word.startswith("upper") else "0123456789abcdef"
    return "".join(rng.choices(alphabet, k=int(word.removeprefix("upper").removeprefix("hex"))))


def _denied(operation: Operation) -> tuple[str, str]:
    action = f"{operation.service}:{operation.name.split('2015')[0]}"
    return (
        "AccessDenied",
        f"User: $arn is not authorized to perform: {action} because no identity-based policy allows the {action} action",
    )


def _tail(operation: Operation, draw: Callable[[str], str]) -> str:
    rest: dict[str, Any] = {"readOnly": operation.read_only}
    if operation.resources:
        rest["resources"] = [_resource(kind, fill(name, draw)) for kind, name in operation.resources]
    rest["eventType"] = "AwsApiCall"
    rest["managementEvent"] = not operation.data
    rest["recipientAccountId"] = ACCOUNT
    rest["eventCategory"] = "Data" if operation.data else "Management"
    return dumps(rest)[1:-1] + ","


def _resource(kind: str, name: str) -> dict[str, str]:
    owner = {} if kind == "AWS::S3::Object" else {"accountId": ACCOUNT}
    return {**owner, "type": kind, "ARN": name}


def _tls(operation: Operation, region: str) -> str:
    host = operation.source if operation.everywhere else f"{operation.service}.{region}.amazonaws.com"
    return '"tlsDetails":' + dumps(_TLS | {"clientProvidedHostHeader": host})


def _uuid4(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:32]}"


def uuids(rng: np.random.Generator, n: int) -> Iterator[str]:
    """`n` random UUIDs (version 4)."""
    digits = rng.bytes(16 * n).hex()
    for at in range(0, 32 * n, 32):
        yield _uuid4(digits[at : at + 32])


def unique_id(prefix: str, name: str) -> str:
    """An IAM unique id that belongs to a name, such as `AROA` and 17 letters."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    return prefix + "".join(alphabet[byte % 32] for byte in hashlib.sha256(f"{prefix} {name}".encode()).digest()[:17])


def arn(actor: Actor) -> str:
    """Whom error messages name."""
    match actor.identity:
        case "sso":
            return f"{_STS}assumed-role/{_sso_role(actor)}/{actor.account}"
        case "role":
            return f"{_STS}assumed-role/{actor.account}/{_session_name(actor)}"
        case "root":
            return f"{_IAM}root"
        case "aws_service":
            return actor.account
        case _:
            return f"{_IAM}user/{actor.account}"


def _sso_role(actor: Actor) -> str:
    return f"AWSReservedSSO_{actor.role.title()}_{hashlib.sha256(actor.role.encode()).hexdigest()[:16]}"


def _session_name(actor: Actor) -> str:
    if actor.role in ("web", "monitoring"):
        return "i-0" + hashlib.sha256(actor.account.encode()).hexdigest()[:16]
    return f"{actor.account}-session"


def identity(actor: Actor, since: dt.datetime, *, console: bool = True) -> str:
    """`userIdentity` of a call in the session that began at `since`; `console=False`: with a person's long-lived key."""
    key = unique_id("ASIA", f"{actor.account} {since.isoformat()}")[:20]
    session = {"creationDate": rfc3339(since), "mfaAuthenticated": "true" if actor.mfa else "false"}
    match actor.identity:
        case "aws_service":
            return dumps({"type": "AWSService", "invokedBy": actor.account})
        case "root":
            found = {
                "type": "Root",
                "principalId": ACCOUNT,
                "arn": arn(actor),
                "accountId": ACCOUNT,
                "accessKeyId": key,
            }
            return dumps(found | {"sessionContext": {"attributes": session}})
        case "iam_user":
            found = {"type": "IAMUser", "principalId": actor.principal, "arn": arn(actor), "accountId": ACCOUNT}
            if console and actor.kind == "human":
                return dumps(
                    found | {"accessKeyId": key, "userName": actor.account, "sessionContext": {"attributes": session}}
                )
            return dumps(found | {"accessKeyId": unique_id("AKIA", actor.account)[:20], "userName": actor.account})
        case _:
            return dumps(_assumed_role(actor, key, session))


def _assumed_role(actor: Actor, key: str, session: dict[str, str]) -> dict[str, Any]:
    person = actor.identity == "sso"
    role = _sso_role(actor) if person else actor.account
    path = f"role/aws-reserved/sso.amazonaws.com/{REGIONS[0]}/{role}" if person else f"role/{role}"
    role_id = unique_id("AROA", role) if person else actor.principal
    return {
        "type": "AssumedRole",
        "principalId": f"{role_id}:{actor.account if person else _session_name(actor)}",
        "arn": arn(actor),
        "accountId": ACCOUNT,
        "accessKeyId": key,
        "sessionContext": {
            "sessionIssuer": {"type": "Role", "principalId": role_id, "arn": _IAM + path, "accountId": ACCOUNT, "userName": role},
            "attributes": session | {"mfaAuthenticated": "false"},
        },
    }  # fmt: skip


def api_call(
    form: Form, who: str, time: str, address: str, agent: str, ids: Iterator[str], refused: str | None, own: bool
) -> str:
    """The record of one API call.

    Args:
        form: operation and region.
        who: `userIdentity` as JSON text.
        time: `eventTime`, such as `2026-11-23T08:15:02Z`.
        address: `sourceIPAddress`.
        agent: `userAgent` as JSON text.
        ids: gives requestID and eventID.
        refused: whom the error message names; `None` for a call that succeeded.
        own: whether an AWS service made the call on its own behalf (no TLS details, a shared event id).
    """
    body = form.answered if refused is None else form.refused.replace("$arn", refused)
    end = f'"sharedEventID":"{next(ids)}"' if own else form.tls
    return (
        f'{{"eventVersion":"1.11","userIdentity":{who},"eventTime":"{time}",{form.called}"sourceIPAddress":"{address}","userAgent":{agent},'
        f'{body}"requestID":"{next(ids)}","eventID":"{next(ids)}",{form.tail}{end}}}'
    )


def sign_in(
    actor: Actor, time: dt.datetime, address: str, agent: str, event_id: str, outcome: Outcome = "success"
) -> str:
    """The record of one console sign-in; sign-ins are recorded in `GLOBAL_REGION` and have no requestID."""
    failed = outcome != "success"
    record: dict[str, Any] = {
        "eventVersion": "1.11",
        "userIdentity": _who_signs_in(actor, time, outcome),
        "eventTime": rfc3339(time),
        "eventSource": "signin.amazonaws.com",
        "eventName": "ConsoleLogin",
        "awsRegion": GLOBAL_REGION,
        "sourceIPAddress": address,
        "userAgent": agent,
    }
    if failed:
        record["errorMessage"] = (
            "Failed authentication" if outcome == "wrong_password" else "No username found in supplied account"
        )
    record |= {
        "requestParameters": None,
        "responseElements": {"ConsoleLogin": "Failure" if failed else "Success"},
        "additionalEventData": {
            "LoginTo": f"https://console.aws.amazon.com/console/home?hashArgs=%23&isauthcode=true&state=hashArgsFromTB_{actor.region}",
            "MobileVersion": "No",
            "MFAUsed": "Yes" if actor.mfa and not failed else "No",
        },
        "eventID": event_id,
        "readOnly": False,
        "eventType": "AwsConsoleSignIn",
        "managementEvent": True,
        "recipientAccountId": ACCOUNT,
        "eventCategory": "Management",
        "tlsDetails": _TLS | {"clientProvidedHostHeader": "signin.aws.amazon.com"},
    }  # fmt: skip
    return dumps(record)


def _who_signs_in(actor: Actor, time: dt.datetime, outcome: Outcome) -> Any:
    if outcome == "no_such_user":
        return {"type": "IAMUser", "accountId": ACCOUNT, "accessKeyId": "", "userName": _HIDDEN}
    if actor.identity == "iam_user":
        found = {"type": "IAMUser", "principalId": actor.principal, "accountId": ACCOUNT, "userName": actor.account}
        return found | ({"accessKeyId": ""} if outcome == "wrong_password" else {"arn": arn(actor)})
    if actor.identity == "root":
        return {"type": "Root", "principalId": ACCOUNT, "arn": arn(actor), "accountId": ACCOUNT, "accessKeyId": ""}
    return json.loads(identity(actor, time))
