"""The invented company: people and services with roles, hours, addresses and devices. Drawn once from a seed, no times in it.

Belongs here: who there is. Not here: what they call (`operations`), when (`rhythm`), or how it is written down (`cloudtrail`).
All of it is reserved for examples: account 123456789012, example.com (RFC 2606), 192.0.2.0/24, 198.51.100.0/24 and 203.0.113.0/24
(RFC 5737), 2001:db8::/32 (RFC 3849), private addresses (RFC 1918).
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from audit_pipeline.demo.operations import REGIONS

IDENTITY = Literal["iam_user", "sso", "role", "aws_service", "root"]
"""How CloudTrail names them: `IAMUser`, `AssumedRole` through single sign-on, `AssumedRole` of a service, `AWSService`, `Root`."""

_GIVEN = (
    "Anna Bruno Carla David Elif Farid Grace Hugo Ines Jonas Kavya Liam Mina Noah Olga Pablo Quinn Rosa Samir Tara Uwe Vera "
    "Wei Xenia Yusuf Zoë Amara Björn Chloé Dmitri Esther Felix Gita Hanna Ivan Jia Kwame Lena Marek Nadia"
)
_FAMILY = (
    "Adler Bianchi Cooper Dubois Eriksen Fischer García Haddad Ito Jensen Keller Lindqvist Moreau Novak Okafor Petrov Quist "
    "Rossi Schmidt Tanaka Ueda Varga Weber Xu Yılmaz Zhang Abebe Brandt Costa Desai Evans Ferrari Grant Hoffmann Iyer Janssen "
    "Kowalski Larsen Müller Nguyen Ortiz Patel Reyes Singh Torres Usman Vogel Walsh Young Ziegler"
)
_NAMES = 40 * 50
TEAMS = ("payments", "checkout", "search", "platform", "data", "mobile", "identity", "cloud")

_ROLE_SHARES = {"engineer": 0.50, "analyst": 0.14, "support": 0.14, "finance": 0.09, "sre": 0.08, "admin": 0.05}
_SERVICE_SHARES = {
    "web": 0.30,
    "etl": 0.17,
    "ci": 0.15,
    "monitoring": 0.14,
    "backup": 0.09,
    "scanner": 0.07,
    "aws": 0.08,
}
_ACTIVITY = {"engineer": 1.0, "analyst": 0.8, "support": 0.6, "finance": 0.25, "sre": 1.4, "admin": 0.7}
_SERVICE_ACTIVITY = {"web": 3.4, "etl": 2.9, "ci": 2.1, "monitoring": 4.2, "backup": 1.8, "scanner": 1.3, "aws": 1.8}
_ROLE_TEAMS = {"analyst": ("data",), "finance": ("finance",), "support": ("support",), "sre": ("platform",), "admin": ("identity", "cloud")}  # fmt: skip
_SERVICE_TEAMS = {"etl": ("data",), "monitoring": ("platform",), "backup": ("cloud",), "scanner": ("identity",), "aws": ("cloud",)}  # fmt: skip
_ZONES = {"Europe/Berlin": 0.56, "Europe/London": 0.14, "America/New_York": 0.18, "Asia/Kolkata": 0.12}
_HOME_REGION = {"Europe/Berlin": "eu-central-1", "Europe/London": "eu-west-1", "America/New_York": "us-east-1", "Asia/Kolkata": "eu-central-1"}  # fmt: skip
_OFFICE = {"Europe/Berlin": "198.51.100.1{}", "Europe/London": "198.51.100.3{}", "America/New_York": "198.51.100.5{}", "Asia/Kolkata": "198.51.100.7{}"}  # fmt: skip
_AWS_SERVICES = (
    "lambda",
    "ec2",
    "ecs-tasks",
    "config",
    "cloudtrail",
    "autoscaling",
    "rds",
    "backup",
    "delivery.logs",
    "events",
)

_BROWSERS = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0.0.0 Safari/537.36 Edg/129.0.0.0",
    "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_6_1) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Safari/605.1.15",
)
_TOOLS = (
    "aws-cli/2.17.32 md/awscrt#0.21.2 ua/2.0 os/macos#23.6.0 md/arch#arm64 lang/python#3.11.9 md/pyimpl#CPython cfg/retry-mode#standard md/installer#exe",
    "aws-cli/2.18.0 md/awscrt#0.22.0 ua/2.0 os/linux#6.8.0 md/arch#x86_64 lang/python#3.12.6 md/pyimpl#CPython cfg/retry-mode#standard md/installer#exe",
    "APN/1.0 HashiCorp/1.0 Terraform/1.9.5 (+https://www.terraform.io) terraform-provider-aws/5.68.0 aws-sdk-go-v2/1.30.5 os/linux lang/go#1.22.7",
)
_SDKS = (
    "Boto3/1.35.20 md/Botocore#1.35.20 ua/2.0 os/linux#6.1.109 md/arch#x86_64 lang/python#3.11.9 md/pyimpl#CPython cfg/retry-mode#standard",
    "aws-sdk-go-v2/1.30.5 os/linux lang/go#1.22.7 md/GOOS#linux md/GOARCH#amd64",
    "aws-sdk-java/2.28.3 Linux/6.1.109-118.189.amzn2023.x86_64 OpenJDK_64-Bit_Server_VM/21.0.4+7-LTS Java/21.0.4",
    "aws-sdk-nodejs/2.1691.0 linux/v20.17.0 promise",
)


@dataclass(frozen=True)
class Actor:
    """A person or a service that calls AWS."""

    account: str
    """the name in the logs: user name, role session name, or service"""
    person: str
    """who answers for it: the person's own name, or the owner's"""
    role: str
    kind: Literal["human", "service"]
    identity: IDENTITY
    team: str
    zone: str
    """IANA time zone"""
    hours: tuple[float, float]
    """local hours of a working day; (0, 24) for a service"""
    weekdays: tuple[int, ...]
    """working days, Monday is 0"""
    activity: float
    """calls a working day, relative to an engineer"""
    region: str
    """where most of its calls go"""
    principal: str
    """the unique id that IAM gave it"""
    addresses: tuple[str, ...]
    agents: tuple[str, ...]
    mfa: bool


@dataclass(frozen=True)
class Company:
    """Everyone, and the things they work on."""

    people: tuple[Actor, ...]
    services: tuple[Actor, ...]
    root: Actor
    things: dict[str, tuple[str, ...]]
    """what `$bucket`, `$instance` and so on in `operations` may stand for"""

    @property
    def actors(self) -> tuple[Actor, ...]:
        """People, then services, then the account's root user."""
        return (*self.people, *self.services, self.root)

    @classmethod
    def make(cls, seed: int, people: int = 220, services: int = 80) -> Company:
        """Draw a company; the same arguments give the same one.

        Raises:
            ValueError: more people than there are names, or fewer than 10 people or services.
        """
        if not (10 <= people <= _NAMES and 10 <= services <= 999):
            raise ValueError(f"people must be 10 to {_NAMES} and services 10 to 999, not {people} and {services}")
        rng = random.Random(f"company {seed}")  # noqa: S311 - a demo, not a secret
        staff = tuple(
            _person(rng, *who) for who in zip(_names(rng, people), _shares(_ROLE_SHARES, people), strict=True)
        )
        machines = tuple(
            _service(rng, number, role, staff) for number, role in enumerate(_shares(_SERVICE_SHARES, services))
        )
        return cls(staff, machines, _root(rng, staff), _things(rng, staff, machines))

    def identities(self) -> list[tuple[str, str, str, str, str, str]]:
        """Rows of `identities.csv` without the source: account, person, role, kind, zone, team."""
        return [(a.account, a.person, a.role, a.kind, a.zone, a.team) for a in self.actors]


def _shares(shares: dict[str, float], n: int) -> Iterator[str]:
    """`n` words in the given shares; each word at least once where there is room."""
    counts = {word: max(1, int(n * share)) for word, share in shares.items()}
    counts[next(iter(shares))] += n - sum(counts.values())
    for word, count in counts.items():
        yield from [word] * count


def _names(rng: random.Random, n: int) -> list[str]:
    return rng.sample([f"{given} {family}" for given in _GIVEN.split() for family in _FAMILY.split()], n)


def _account_name(person: str) -> str:
    """`Zoë Müller` to `zoe.muller`."""
    plain = unicodedata.normalize("NFKD", person.replace("ı", "i")).encode("ascii", "ignore").decode()
    return plain.lower().replace(" ", ".")


def _code(rng: random.Random, n: int, alphabet: str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") -> str:
    return "".join(rng.choices(alphabet, k=n))


def _weighted(rng: random.Random, shares: dict[str, float]) -> str:
    return rng.choices(list(shares), weights=list(shares.values()))[0]


def _person(rng: random.Random, name: str, role: str) -> Actor:
    zone = _weighted(rng, _ZONES)
    single_sign_on = role in ("engineer", "sre", "analyst") and rng.random() < 0.75
    account = _account_name(name) + ("@example.com" if single_sign_on else "")
    start = rng.choice((7.0, 7.5, 8.0, 8.0, 8.5, 9.0, 9.5))
    technical = role in ("engineer", "sre", "admin")
    home = (
        f"2001:db8:{rng.randrange(1, 0xFFFF):x}::{rng.randrange(1, 0xFFFF):x}"
        if rng.random() < 0.1
        else f"203.0.113.{rng.randrange(1, 200)}"
    )
    return Actor(
        account=account,
        person=name,
        role=role,
        kind="human",
        identity="sso" if single_sign_on else "iam_user",
        team=rng.choice(_ROLE_TEAMS.get(role, TEAMS)),
        zone=zone,
        hours=(start, start + rng.choice((8.0, 8.5, 8.5, 9.0, 9.5))),
        weekdays=(0, 1, 2, 3) if rng.random() < 0.12 else (0, 1, 2, 3, 4),
        activity=_ACTIVITY[role] * rng.lognormvariate(0, 0.35),
        region=_HOME_REGION[zone],
        principal=("AROA" if single_sign_on else "AIDA") + _code(rng, 17),
        addresses=(_OFFICE[zone].format(rng.randrange(4)), home),
        agents=(rng.choice(_BROWSERS), rng.choice(_TOOLS)) if technical else (rng.choice(_BROWSERS),),
        mfa=role != "support" or rng.random() < 0.5,
    )


def _service(rng: random.Random, number: int, role: str, staff: tuple[Actor, ...]) -> Actor:
    team = rng.choice(_SERVICE_TEAMS.get(role, TEAMS))
    owner = rng.choice([person for person in staff if person.team == team] or list(staff))
    aws = role == "aws"
    user = role == "backup" and number % 3 == 0  # an old script with a user of its own
    name = f"{_AWS_SERVICES[number % len(_AWS_SERVICES)]}.amazonaws.com" if aws else f"{team}-{role}-{number:02d}"
    return Actor(
        account=name,
        person=owner.person,
        role=role,
        kind="service",
        identity="aws_service" if aws else "iam_user" if user else "role",
        team=team,
        zone="UTC",
        hours=(0.0, 24.0),
        weekdays=(0, 1, 2, 3, 4, 5, 6),
        activity=_SERVICE_ACTIVITY[role] * rng.lognormvariate(0, 0.3),
        region=rng.choices(REGIONS, weights=(5, 3, 2, 1))[0],
        principal=("AIDA" if user else "AROA") + _code(rng, 17),
        addresses=(name,)
        if aws
        else (f"192.0.2.{rng.randrange(1, 255)}", f"10.20.{rng.randrange(256)}.{rng.randrange(1, 255)}"),
        agents=(name,) if aws else (rng.choice(_SDKS),),
        mfa=False,
    )


def _root(rng: random.Random, staff: tuple[Actor, ...]) -> Actor:
    keeper = next(person for person in staff if person.role == "admin")
    return Actor(
        account="root",
        person=keeper.person,
        role="root",
        kind="human",
        identity="root",
        team=keeper.team,
        zone=keeper.zone,
        hours=(9.0, 16.0),
        weekdays=(0, 1, 2, 3, 4),
        activity=0.0,
        region="us-east-1",
        principal="",
        addresses=keeper.addresses[:1],
        agents=(rng.choice(_BROWSERS),),
        mfa=True,
    )


def _things(rng: random.Random, staff: tuple[Actor, ...], machines: tuple[Actor, ...]) -> dict[str, tuple[str, ...]]:
    digits = "0123456789abcdef"
    words = ("orders", "invoices", "sessions", "images", "exports", "reports", "events", "prices")
    return {
        "bucket": tuple(f"example-{team}-{word}" for team in TEAMS for word in ("data", "logs", "assets")),
        "prefix": words,
        "team": TEAMS,
        "function": tuple(f"{team}-{word}" for team in TEAMS for word in words[:4]),
        "instance": tuple("i-0" + _code(rng, 16, digits) for _ in range(120)),
        "volume": tuple("vol-0" + _code(rng, 16, digits) for _ in range(120)),
        "group": tuple("sg-0" + _code(rng, 16, digits) for _ in range(30)),
        "key": tuple(f"{_code(rng, 8, digits)}-{_code(rng, 4, digits)}-4{_code(rng, 3, digits)}-8{_code(rng, 3, digits)}-{_code(rng, 12, digits)}" for _ in range(16)),
        "secret": tuple(f"{team}-{word}" for team in TEAMS for word in ("db", "api")),
        "user": tuple(person.account for person in staff if person.identity == "iam_user"),
        "role": tuple(machine.account for machine in machines if machine.identity == "role"),
    }  # fmt: skip
