"""From error texts to templates: variables and secrets masked, stack traces cut to their signature, the rest grouped by Drain.

Belongs here: text in, text out. Not here: which events are errors (`error_events`), counting and judging them (`templates`).

Grouping is Drain (He, Zhu, Zheng and Lyu 2017, "Drain: An Online Log Parsing Approach with Fixed Depth Tree", ICWS; library drain3),
kept in memory. A template that days before used never changes its text: a line that it covers, or resembles in `ALIKE` of its
words, belongs to it. So a template's identity stays the same from day to day, and what people decided about it stays with it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise
from typing import Any

from audit_pipeline.privacy.masks import mask

ALIKE = 0.6
"""share of words that two lines of one template have in common, in the same places"""
NEW = 500
"""new templates of one service and day; what comes after the most frequent lines have theirs is left out"""
WORDS, LETTERS = 30, 180
"""words of a template, and letters of a word"""
FRAMES = 3
_CUT = "…"
_WILD = "<*>"

VARIABLES: tuple[tuple[str, str], ...] = (
    (r"[\x00-\x20\x7f-\xa0]+", " "),
    (r'"[^"]{1,300}"', "<text>"),
    (r"(^|[ =:(\[,])'[^']{1,300}'", r"\1<text>"),
    (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?", "<time>"),
    (r"\b[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}\b", "<id>"),
    (r"\barn:[a-z-]{1,20}:[^ ,;)>\]]+", "<arn>"),
    (r"\b[a-z][a-z0-9+.-]{1,20}://[^ <>]+", "<url>"),
    (r"[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+", "<mail>"),
    (r"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?::\d{1,5})?\b", "<ip>"),
    (r"\b(?:[0-9A-Fa-f]{1,4}:){4,7}[0-9A-Fa-f]{1,4}\b|\b(?:[0-9A-Fa-f]{1,4}:){1,6}(?::[0-9A-Fa-f]{1,4}){1,6}\b", "<ip>"),
    (r"(^|[ =:(\[,])(?:/[A-Za-z0-9._@%+~-]+){2,}/?", r"\1<path>"),
    (r"\b[A-Za-z]:\\[^ :]+", "<path>"),
    (r"\b\d+(?:[.,]\d+)*(?:ns|us|ms|s|m|min|h|d|[KMGT]i?B|kB|B)?\b", "<num>"),
    (r"\b0x[0-9A-Fa-f]+\b|\b(?:[A-Fa-f]*[0-9]){4,}[0-9A-Fa-f]*\b", "<hex>"),
    (r"\b(?:[A-Za-z_]*\d){2,}\w*\b", "<id>"),
)  # fmt: skip
"""What differs between two occurrences of one error, in the order in which it is masked; RE2 and `re` read these alike."""
_VARIABLES = tuple((re.compile(shape), put) for shape, put in VARIABLES)
_NUMBERS = tuple((re.compile(shape), put) for shape, put in VARIABLES if put in ("<id>", "<num>", "<hex>"))
"""those of a route or an operation, whose words say which it is"""
HINT = (
    r"(?i)(?:pass|pwd|secret|token|key|credential|session|pin|otp|sig|signature|authorization|auth|cookie|hash)[a-z_-]{0,20}[\"']?\s{0,4}[:=]|"
    r"\b(?:bearer|basic)\s|eyJ|AKIA|ASIA|PRIVATE KEY|gh[pousr]_|github_pat_|glpat-|xox|[rs]k_(?:live|test)_|://[^/ ]{0,256}@|(?:^|\s)--?(?:pass|token|secret|api)"
)
"""Texts in which a secret may stand: its shape must still be whole when `privacy.mask` looks at it."""

# A frame, the innermost place in the file or symbol that it names; groups: file, function
_PYTHON = re.compile(r'^\s*File "([^"\n]{1,400})", line [^,\n]{1,20}, in ([^\n]{1,120})$', re.MULTILINE)
_JVM = re.compile(r"^\s*at ([\w.$/@<>-]{1,300})\(([^)\n]{0,200})\)", re.MULTILINE)
_NODE = re.compile(
    r"^\s*at (?:(?:async )?([^\n(]{1,200}?) \()?([^()\n ]{1,300}):[\w<>]{1,20}:[\w<>]{1,20}\)?$", re.MULTILINE
)
_DOTNET = re.compile(r"^\s*at ([\w.`<>\[\]+]{1,300})\([^)\n]{0,300}\) in ([^\n]{1,300}):line", re.MULTILINE)
_GO = re.compile(r"^([\w./*()-]{1,300})\([^\n]{0,300}\)\n\t([^\n:]{1,300}):", re.MULTILINE)
_KINDS = (_PYTHON, _DOTNET, _NODE, _JVM, _GO)
_FOREIGN = re.compile(
    r"site-packages|dist-packages|node_modules|node:internal|^internal/|/lib/python|<frozen|/usr/local/go/|/go/pkg/mod|"
    r"^(?:java|javax|jdk|sun|com\.sun|kotlin|scala|jakarta|org\.(?:springframework|apache|hibernate|eclipse|junit|postgresql)|com\.(?:mysql|zaxxer|fasterxml)|io\.netty|System|Microsoft)\.|^runtime[./]"
)
"""Frames of libraries and run times: of no use to tell errors of one's own code apart."""
_PANIC = re.compile(r"^(panic): ([^\n]{0,1000})", re.MULTILINE)
_RAISED = re.compile(
    r"^(?:Caused by: |Exception in thread \"[^\"\n]{0,100}\" |Unhandled exception\. |Uncaught )?"
    r"([A-Za-z_][\w.$]{0,200}(?:Error|Exception|Exit|Interrupt|Warning|Fault|Timeout|Failure|Panic|Abort)\w{0,60}|[a-z_]\w{0,60}(?:\.\w{1,60}){1,8})(?:: ([^\n]{0,1000}))?\s*$",
    re.MULTILINE,
)


def line(operation: str, code: str, text: str, stack: str) -> str:
    """What identifies an error, as one line of words: the stack's signature or operation and code first, then its words, variables masked."""
    signature, said = _signature(stack)
    said = said if signature and (not text or text.startswith("Traceback") or _RAISED.match(text)) else text
    words = [one for one in (signature or _called(operation, code), *map(word, masked(mask(said)).split(" "))) if one]
    return " ".join(words if len(words) <= WORDS else [*words[:WORDS], _CUT])


def masked(text: str, variables: Iterable[tuple[re.Pattern[str], str]] = _VARIABLES) -> str:
    """The text with its variables masked."""
    for shape, put in variables:
        text = shape.sub(put, text)
    return text.strip()


def word(text: str) -> str:
    """Printable and not too long; Drain's own sign for a variable cannot be written into a log by somebody else."""
    shown = text[: LETTERS + 1].replace(_WILD, "<?>")
    if not shown.isprintable():
        shown = "".join(letter if letter.isprintable() else "�" for letter in shown)
    return shown if len(shown) <= LETTERS else shown[:LETTERS] + _CUT


@functools.lru_cache(maxsize=4096)
def _called(operation: str, code: str) -> str:
    """What was called and what it answered, as one word."""
    return word("/".join(part for part in (masked(mask(operation), _NUMBERS), mask(code)) if part).replace(" ", ":"))


@functools.lru_cache(maxsize=512)
def _signature(stack: str) -> tuple[str, str]:
    """`Type@innermost<next<next` of a stack trace, and the exception's own words; empty where it is none.

    Of chained exceptions the root cause counts: Python prints it first, the JVM last ("Caused by"). Line numbers do not enter it.
    """
    stack = mask(stack)
    found = next(((kind, frames) for kind in _KINDS if (frames := _frames(kind, stack))), None)
    if found is None:
        return "", ""
    kind, frames = found
    raised = (_PANIC if kind is _GO else _RAISED).findall(stack)
    name, said = (raised[0] if kind is _PYTHON or "Caused by: " not in stack else raised[-1]) if raised else ("", "")
    return word(f"{name or 'exception'}@{'<'.join(frames)}".replace(" ", "_")), said


def _frames(kind: re.Pattern[str], stack: str) -> list[str]:
    """The innermost `FRAMES` frames of own code, the innermost first; of all code where none is own."""
    parts = _chain(kind, stack)
    found = kind.findall(parts)
    if kind is _PYTHON:
        found.reverse()
    own = [frame for frame in found if not any(_FOREIGN.search(part) for part in frame)] or found
    names = [_frame(kind, frame) for frame in own]
    once = [one for before, one in pairwise([None, *names]) if one and one != before]  # recursion is one frame
    return once[:FRAMES]


def _chain(kind: re.Pattern[str], stack: str) -> str:
    """The part of a chained trace that tells of the root cause."""
    if kind is _PYTHON:
        return re.split(r"\n(?:The above exception was|During handling of the above)", stack, maxsplit=1)[0]
    return stack.rsplit("\nCaused by: ", 1)[-1] if kind is _JVM else stack


def _frame(kind: re.Pattern[str], frame: tuple[str, str]) -> str:
    """`file:function`, or the symbol where it names the class; without folders, which differ from host to host."""
    first, second = frame
    if kind in (_JVM, _DOTNET):
        return masked(".".join(first.rsplit("/", 1)[-1].split(".")[-2:]))
    if kind is _GO:
        return masked(first.rsplit("/", 1)[-1])
    file, function = (first, second) if kind is _PYTHON else (second, first)
    return masked(re.split(r"[/\\]", file)[-1]) + (f":{masked(function)}" if function else "")


def assign(lines: Mapping[str, int], known: Collection[str]) -> dict[str, str | None]:
    """Each line's template; null where it was left out.

    Args:
        lines: the lines of one service with how often each stands there; their order does not matter.
        known: the templates that days before used.
    """
    from drain3.drain import Drain

    def drain(alike: float) -> Any:
        return Drain(depth=4, sim_th=alike, max_children=1_000_000, param_str=_WILD, parametrize_numeric_tokens=False)

    seeds, fresh = drain(2.0), drain(ALIKE)  # above 1: no seed is ever merged into another
    for template in sorted(known):
        seeds.add_log_message(template)
    clusters: dict[str, Any] = {}
    for text in _ordered(lines):
        clusters[text] = _seed(seeds, text) or _new(fresh, text)
    return {text: " ".join(found.log_template_tokens) if found else None for text, found in clusters.items()}


def _ordered(lines: Mapping[str, int]) -> list[str]:
    """By text, so that counts that change with late records change no template; the most frequent first where not all can have one."""
    return sorted(lines, key=lambda text: (-lines[text] if len(lines) > NEW else 0, text))


def _seed(seeds: Any, text: str) -> Any:
    """The known template that covers the line, else the one that resembles it most; null where none does."""
    words = seeds.get_content_as_tokens(text)
    return seeds.match(text) or seeds.tree_search(seeds.root_node, words, ALIKE, False)


def _new(fresh: Any, text: str) -> Any:
    words = fresh.get_content_as_tokens(text)
    if len(fresh.clusters) >= NEW and fresh.tree_search(fresh.root_node, words, ALIKE, False) is None:
        return None
    return fresh.add_log_message(text)[0]
