"""Masks: secrets go, everything else stays, twice is once, and no text takes long."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_pipeline.privacy.masks import MASKED, mask, masked, masked_apart

PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAKC\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
SECRETS = {
    "aws key id": ("AKIAIOSFODNN7EXAMPLE in a script", "AKIAIOSFODNN7EXAMPLE"),
    "aws temporary key id": ("by ASIAY34FZKBOKMUTVV7A,", "ASIAY34FZKBOKMUTVV7A"),
    "aws secret key": ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalrXUtnFEMI"),
    "bearer": ("GET / with Bearer mF_9.B5f-4.1JqM", "mF_9.B5f"),
    "authorization header": ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    "authorization in JSON": ('{"authorization": "Bearer abcdefgh"}', "abcdefgh"),
    "password in a URL": ("postgres://audit:hunter2@db.example.com/x", "hunter2"),
    "password with an at sign in a URL": ("ftp://u:p@ss@host/", "p@ss"),
    "PEM": (f"key {PEM} end", "MIIEow"),
    "PEM cut short": (f"key {PEM[:40]}", "MIIEow"),
    "JWT": (f"cookie {JWT} sent", "dozjgNryP4J3jVmNHl0w5N"),
    "password in JSON": (r'{"dbPassword": "a \"b\" c", "n": 1}', r"\"b\""),
    "password in a query": ("/login?user=bob&password=Hunter2!secret&x=1", "Hunter2!secret"),
    "token in a form": ("csrf_token=abc123;", "abc123"),
    "password after a colon": ("bob typed password: Hunter2!secret", "Hunter2!secret"),
    "password as an option": ("mysqldump --password Hunter2! db", "Hunter2!"),
    "hexadecimal after key=": ("key=0123456789abcdef0123456789abcdef", "0123456789abcdef"),
    "base64 after hash:": ("hash: " + "aGVsbG8gd29ybGQ+" * 3, "aGVsbG8g"),
    "card": ("paid with 4111 1111 1111 1111.", "1111"),
    "card in one": ("pan 378282246310005", "378282246310005"),
    "GitHub": ("ghp_" + "a1B2" * 9, "a1B2a1B2"),
}
HARMLESS = [
    "Burst of failed sign-ins: alice, trail",
    "New API key: alice, iam.amazonaws.com",
    "raw/trail/2026-11-23/00000014.segment",
    "2026-11-23 2026-11-24",
    "arn:aws:iam::123456789012:user/erin",
    "9f3c71aa0d5b4c1e8f2a9f3c71aa0d5b4c1e8f2a9f3c71aa0d5b4c1e8f2a02de",
    "silent from 08:02 to 17:03, 9 h 1 min; expected 4,300 events",
    "https://audit.example.com/reports/daily/2026-11-23/1/report.html",
    "basic authentication refused",
    "7d0c1b2e-3f45-4b8a-8a52-6f1f0b9f3c20",
    "no number of a card: 4111 1111 1111 1112, 1764201600000",
    '{"user_name":"mara.lindqvist@example.com","x_source":"cloudtrail_prod"}',
    "user-4T2QX",
]
FRAGMENTS = ["password", "token", "=", ":", " ", '"', "'", "://", "@", "eyJ", ".", "AKIA", "Bearer ", "(masked)", "4111 1111 ", "1111", "-----BEGIN PRIVATE KEY-----", "\\", "key=", "a", "Z9" * 20, "&", "--", "authorization"]  # fmt: skip


@pytest.mark.parametrize(("text", "secret"), SECRETS.values(), ids=SECRETS.keys())
def test_a_secret_is_not_printed(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in mask(text)
    assert MASKED in mask(text)


def test_what_stands_beside_a_secret_stays() -> None:
    assert mask("postgres://audit:hunter2@db/x") == "postgres://audit:(masked)@db/x"
    assert mask("/login?user=bob&password=x&next=1") == "/login?user=bob&password=(masked)&next=1"
    assert mask(f"key {PEM} end") == "key (masked) end"
    assert mask("Authorization: Basic dXNlcjpwYXNz, ok") == "Authorization: Basic (masked), ok"


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text: str) -> None:
    assert mask(text) == text


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=6)), max_size=12).map("".join))
def test_masking_again_changes_nothing(text: str) -> None:
    once = mask(text)
    assert mask(once) == once


@pytest.mark.parametrize("unit", [*FRAGMENTS, "a_", "eyJaaaaaa.", "://a:", 'password="', "authorization: a ", "1234-"])
def test_time_grows_with_the_length_and_no_faster(unit: str) -> None:
    def seconds(length: int) -> float:
        text = "=" + (unit * length)[:length]
        best = float("inf")
        for _ in range(2):
            start = time.perf_counter()
            mask(text)
            best = min(best, time.perf_counter() - start)
        return best

    short, long = seconds(2_000), seconds(32_000)
    assert long < 0.5
    assert long < 60 * short + 0.01, "16 times the text; quadratic would be 256 times the time"


def test_a_whole_value_is_walked() -> None:
    value = {"a": ["password=x", {"b": "token=y"}], "n": 3, "none": None}
    assert masked(value) == {"a": ["password=(masked)", {"b": "token=(masked)"}], "n": 3, "none": None}


def test_two_that_read_alike_stay_two() -> None:
    assert masked_apart(["b", "token=x", "token=y", "token=(masked)"]) == {
        "b": "b",
        "token=(masked)": "token=(masked)",
        "token=x": "token=(masked) 2",
        "token=y": "token=(masked) 3",
    }
