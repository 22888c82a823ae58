"""Masks over what looks like a secret: keys, tokens, passwords and card numbers that somebody wrote into a log.

Belongs here: shapes of secrets, as a pure function of text. Not here: names of people (`pseudonyms`, `names`).

Raw evidence and `events` keep what was logged; everything that is made from them for people passes `mask`. Each shape is bounded
or possessive, so that no text takes more than time proportional to its length. Masking again changes nothing.

Shapes: AWS access key ids (docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html), Authorization headers (RFC 6750,
RFC 7617), user information in URLs (RFC 3986, 3.2.1), PEM (RFC 7468), JWT (RFC 7519), card numbers (ISO/IEC 7812-1, with Luhn's
check digit), tokens with the prefixes that GitHub, GitLab, Slack and Stripe document, and values after a key's name.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

MASKED = "(masked)"
_LONG = (
    r"(?:password|passwd|passphrase|passcode|secret|token|api[_-]?key|access[_-]?key(?:[_-]?id)?|private[_-]?key|credentials?|"
    r"session[_-]?(?:id|key))"
)
_SHORT = r"(?<![A-Za-z0-9])(?:pass|pwd|pin|otp|sig|signature)"
_NAME = rf"(?:{_LONG}|{_SHORT})[\"']?\s{{0,4}}"
"""a key's name as the end of a longer one too: `db_password`, `clientSecret`"""
_DONE = r"(?!\(masked\)(?:[\s\"'&,;<>]|\Z))"
_VALUE = _DONE + r"[^\s\"'&,;<>]{1,}+"
_SHAPES: tuple[tuple[str, str], ...] = (
    (r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|\Z)", MASKED),
    (r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{5,}+\.[A-Za-z0-9_-]{4,}+(?:\.[A-Za-z0-9_-]*+)?", MASKED),
    (r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])", MASKED),
    (
        (
            r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{20,}+|github_pat_[A-Za-z0-9_]{20,}+|glpat-[A-Za-z0-9_-]{16,}+|"
            r"xox[abeoprs]-[A-Za-z0-9-]{8,}+|[rs]k_(?:live|test)_[A-Za-z0-9]{10,}+)"
        ),
        MASKED,
    ),
    (rf"(?i)(\bauthorization[\"']?\s{{0,4}}[:=]\s{{0,4}}[\"']?(?:[a-z0-9-]{{1,20}}\s{{1,4}})?+){_VALUE}", r"\1" + MASKED),
    (rf"(?i)\b(bearer|basic)\s{{1,4}}(?=[a-z._~+/-]{{0,400}}[0-9=]){_DONE}[a-z0-9._~+/=-]{{8,}}+", r"\1 " + MASKED),
    (r"(?<=://)([^\s/:@\"'<>]{0,256}):[^\s/\"'<>]{1,256}@", r"\1:" + MASKED + "@"),
    # "name": "value", up to the closing quote
    (rf"(?i)({_NAME}[:=]\s{{0,4}})\"(?:[^\"\\]|\\.)*+\"?", r'\1"' + MASKED + '"'),
    (rf"(?i)({_NAME}[:=]\s{{0,4}})'(?:[^'\\]|\\.)*+'?", r"\1'" + MASKED + "'"),
    # name=value, name:value; with a space after the colon only where nothing else can be meant
    (rf"(?i)({_NAME}(?:=\s{{0,4}}|:)){_VALUE}", r"\1" + MASKED),
    (rf"(?i)((?:password|passwd|pwd|passphrase)\s{{0,4}}:\s{{1,4}}){_VALUE}", r"\1" + MASKED),
    (rf"(?i)((?<!\S)--?(?:password|passwd|pass|token|secret|api-?key)\s{{1,4}}){_VALUE}", r"\1" + MASKED),
    # a long run of hexadecimal or base64 digits after key=
    (r"(?i)((?:key|hash|auth|cookie)[\"']?\s{0,4}[:=]\s{0,4}[\"']?)(?:[0-9a-f]{32,}+|[a-z0-9+/_-]{40,}+={0,2})", r"\1" + MASKED),
)  # fmt: skip
_PATTERNS = tuple((re.compile(shape), put) for shape, put in _SHAPES)
_CARD = re.compile(
    r"(?<![0-9A-Za-z.-])(?:\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{4}(?:\1\d{3})?|\d{4}([ -])\d{6}\2\d{4,5})(?![0-9A-Za-z-])"
)
_ISSUER = re.compile(r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]|2[2-7])\d{14}|3[47]\d{13}|3[068]\d{12}|6\d{15,18}")
_HINT = re.compile(
    r"[:=]|(?<!\S)-|(?i:bearer|basic|digest)|eyJ|AKIA|ASIA|-----BEGIN|gh[pousr]_|github_pat_|glpat-|xox|[rs]k_(?:live|test)_|\d[\d -]{12}"
)
"""most texts have none of this, and are left alone at once"""


def mask(text: str) -> str:
    """The text with `(masked)` in place of what looks like a secret; as long as there is nothing of the kind, the text itself."""
    if _HINT.search(text) is None:
        return text
    for pattern, put in _PATTERNS:
        text = pattern.sub(put, text)
    return _CARD.sub(_card, text)


def _card(match: re.Match[str]) -> str:
    digits = re.sub(r"[ -]", "", match[0])
    return MASKED if _ISSUER.fullmatch(digits) and _luhn([int(one) for one in digits]) else match[0]


def _luhn(digits: list[int]) -> bool:
    """The check digit of ISO/IEC 7812-1, annex B."""
    doubled = [one if index % 2 == 0 else sum(divmod(2 * one, 10)) for index, one in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


def masked_apart(values: Iterable[str]) -> dict[str, str]:
    """Each value with what is printed of it: masked, and numbered where two would read alike."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for value in sorted(values, key=lambda one: (mask(one) != one, one)):
        clean = mask(value)
        shown = next(name for name in _numbered(clean) if name not in taken)
        taken.add(shown)
        found[value] = shown
    return found


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name} {number}" for number in itertools.count(2))


def masked(value: Any, mask: Callable[[str], str] = mask) -> Any:
    """A JSON value with every string in it masked; keys stay."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {name: masked(item, mask) for name, item in value.items()}
    if isinstance(value, list):
        return [masked(item, mask) for item in value]
    return value
