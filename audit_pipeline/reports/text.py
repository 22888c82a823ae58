"""Hostile text made safe to look at, and numbers in words: what page, mail and CSV print goes through here.

Belongs here: pure functions from a value to a string. Not here: escaping for HTML (Jinja's autoescape does that, after this).
"""

from __future__ import annotations

import datetime as dt
import math
import unicodedata

from markupsafe import Markup

LIMIT = 200
CELL_LIMIT = 1_000
PRINTED_LIMIT = 600
_HIDDEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters and marks that show nothing (fillers, blank braille): Unicode calls them no format characters."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))
NO_DATA = "no data"
_MINUS = "\u2212"


def visible(text: str, limit: int | None = LIMIT) -> str:
    r"""Text from a log as a person may safely see it: nothing hidden, nothing that moves or reverses what stands beside it.

    Control characters become their Unicode pictures (␛ for ESC), others that show nothing or change direction (Unicode
    categories Cc, Cf, Cs, Zl, Zp: bidirectional overrides, zero-width and tag characters, lone surrogates) become `\u202e`.

    Args:
        text: any string.
        limit: characters to keep at most; what is cut off is counted in `…(+n)`. None keeps all.
    """
    if text.isprintable() and (text.isascii() or _HIDDEN.isdisjoint(text)):  # nearly all texts: nothing to replace
        whole = limit is None or len(text) <= limit
        return str(text) if whole else f"{text[:limit]}…(+{len(text) - (limit or 0)})"
    shown: list[str] = []
    room = len(text) * 10 if limit is None else limit
    for position, character in enumerate(text):
        piece = _shown(character)
        room -= len(piece)
        if room < 0:
            return f"{''.join(shown)}…(+{len(text) - position})"
        shown.append(piece)
    return "".join(shown)


def _shown(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if character in _HIDDEN or unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
    return character


def finalize(value: object) -> object:
    """What a template prints: markup and numbers as they are, every string visible and none longer than `PRINTED_LIMIT`."""
    return visible(value, limit=PRINTED_LIMIT) if isinstance(value, str) and not isinstance(value, Markup) else value


def csv_cell(value: object, limit: int | None = CELL_LIMIT) -> object:
    """A cell that no spreadsheet takes for a formula; numbers stay numbers, nothing stays empty.

    Source of the rule: OWASP, CSV injection. The guard is a leading apostrophe.
    """
    if not isinstance(value, str):
        return value
    shown = visible(value, limit=limit)
    return "'" + shown if value.lstrip(" \u00a0\u3000").startswith(_FORMULA) else shown


def words(text: str) -> int:
    """How many words a text has: runs without white space that hold a letter or a digit."""
    return sum(any(character.isalnum() for character in run) for run in text.split())


def count(number: int, one: str, many: str | None = None, *, capital: bool = False) -> str:
    """`two decisions`, `one source`, `14 findings`: small numbers in words."""
    phrase = f"{spelled(number)} {one if number == 1 else many or one + 's'}"
    return phrase[0].upper() + phrase[1:] if capital else phrase


def spelled(number: int) -> str:
    """Numbers up to twelve as words."""
    return _SMALL[number] if number < len(_SMALL) else f"{number:,}"


def measure(value: float | None, unit: str | None) -> str:
    """A value with its unit: shares as per cent, seconds in the unit that fits, no value as `no data`."""
    if value is None or not math.isfinite(value):
        return NO_DATA
    if unit in ("share", "ratio", "rate"):
        return _per_cent(value)
    if unit in ("s", "seconds"):
        return duration(value)
    return f"{_digits(value)} {unit}" if unit and unit != "count" else _digits(value)


def number(value: float | None) -> str:
    """A plain number with thousands separated; none is `no data`."""
    return NO_DATA if value is None or not math.isfinite(value) else _digits(value)


def _digits(value: float) -> str:
    """Three significant digits below 1,000, whole numbers above; what is not 0 does not read as 0."""
    if float(value).is_integer() or abs(value) >= 1_000:
        return f"{round(value):,}".replace("-", _MINUS)
    places = max(0, min(4, 2 - math.floor(math.log10(abs(value)))))
    shown = f"{value:.{places}f}"
    if float(shown) == 0:
        return "under 0.0001" if value > 0 else f"over {_MINUS}0.0001"
    return (shown.rstrip("0").rstrip(".") if places else shown).replace("-", _MINUS)


def _per_cent(share: float) -> str:
    """A share that is not whole does not read as 100 %."""
    shown = _digits(share * 100)
    return f"{'over 99.9' if share < 1 and shown == '100' else shown} %"


def change(ratio: float | None) -> str:
    """A ratio of after to before as its change: 0.42 is `−58 %`; what is not 0 or all does not read as such."""
    if ratio is None or not math.isfinite(ratio):
        return NO_DATA
    if ratio >= 10:
        return f"{_digits(ratio)} times"
    percent = abs(ratio - 1) * 100
    shown = f"{percent:.0f}" if percent >= 10 else f"{percent:.1f}".removesuffix(".0")
    if shown == "100" and 0 < ratio < 1:
        return "over 99 % less"
    if shown == "0":
        return "0 %" if percent == 0 else "under 0.1 %"
    return f"{_MINUS if ratio < 1 else '+'}{shown} %"


def duration(seconds: float) -> str:
    """`4.2 s`, `3 min 20 s`, `9 h 5 min`, `2 d 3 h`: the two largest units."""
    if seconds < 0:
        return _MINUS + duration(-seconds)
    if seconds < 60:
        return f"{_digits(round(seconds, 1))} s"
    whole = round(seconds)
    for index, (size, name) in enumerate(_UNITS):
        if whole >= size:
            below, below_name = (*_UNITS[index + 1 :], (1, "s"))[0]
            rest = whole % size // below
            return f"{whole // size} {name}" + (f" {rest} {below_name}" if rest else "")
    return f"{whole} s"


def size(number_of_bytes: int) -> str:
    """Bytes in decimal units: `1.2 GB`."""
    amount = float(number_of_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1_000:
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1_000
    return f"{amount:.1f} TB"


def span(start: str | None, end: str | None, day: str) -> str:
    """`08:02 to 17:03` within the day, with dates where it reaches beyond; times are RFC 3339, UTC."""
    if start and end:
        return f"{_moment(start, day)} to {_moment(end, day)}"
    return f"from {_moment(start, day)}" if start else f"until {_moment(end, day)}" if end else ""


def spans(days: list[str]) -> str:
    """Days as a person lists them: `11-03 to 11-05, 11-09`."""
    runs: list[list[str]] = []
    for day in days:
        if runs and dt.date.fromisoformat(day) - dt.date.fromisoformat(runs[-1][-1]) == dt.timedelta(days=1):
            runs[-1].append(day)
        else:
            runs.append([day])
    return ", ".join(run[0][5:] if len(run) == 1 else f"{run[0][5:]} to {run[-1][5:]}" for run in runs)


def _moment(moment: str, day: str) -> str:
    if moment[:10] == day:
        return moment[11:16]
    next_day = (dt.date.fromisoformat(day) + dt.timedelta(days=1)).isoformat()
    return "24:00" if moment.startswith(f"{next_day}T00:00") else f"{moment[5:10]} {moment[11:16]}"


def minute(moment: str | None) -> str:
    """`2026-11-23 08:02`, UTC, of an RFC 3339 time; nothing is `not yet`."""
    return f"{moment[:10]} {moment[11:16]}" if moment else "not yet"
