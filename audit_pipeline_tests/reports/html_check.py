"""Reads a page as a browser would, and lists what must not be in it."""

from __future__ import annotations

import html.parser
import re

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
ALLOWED = {
    "a",
    "article",
    "b",
    "body",
    "br",
    "caption",
    "circle",
    "code",
    "dd",
    "desc",
    "details",
    "div",
    "dl",
    "dt",
    "figcaption",
    "figure",
    "footer",
    "g",
    "h1",
    "h2",
    "h3",
    "head",
    "header",
    "html",
    "li",
    "main",
    "meta",
    "nav",
    "ol",
    "p",
    "path",
    "rect",
    "section",
    "span",
    "style",
    "summary",
    "svg",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "time",
    "title",
    "tr",
    "ul",
}
REACHING = ("href", "src", "action", "xlink:href", "poster", "srcset", "background")
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


class Page(html.parser.HTMLParser):
    """Collects faults, ids, links, text and elements."""

    def __init__(self, text: str, *, allowed: set[str] = ALLOWED, links: tuple[str, ...] = ("#",)) -> None:
        super().__init__()
        self.allowed, self.links = allowed, links
        self.faults: list[str] = []
        self.ids: list[str] = []
        self.hrefs: list[str] = []
        self.headings: list[int] = []
        self.tables = {"table": 0, "caption": 0}
        self.policy = ""
        self._open: list[str] = []
        self._text: list[str] = []
        self.feed(text)
        self.close()
        if self._open:
            self.faults.append(f"never closed: {self._open}")
        if UNSEEN.search(text):
            self.faults.append(f"hidden character {UNSEEN.search(text)!r}")
        self.faults += [f"id {name} twice" for name in {name for name in self.ids if self.ids.count(name) > 1}]
        self.faults += [
            f"link to nowhere {href}" for href in self.hrefs if href.startswith("#") and href[1:] not in self.ids
        ]

    @property
    def text(self) -> str:
        """Its text, white space run together; drawings and styles left out."""
        return " ".join("".join(self._text).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.faults += self._faults(tag, given)
        if tag == "a":
            self.hrefs.append(given.get("href", ""))
        if "id" in given:
            self.ids.append(given["id"])
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"]
        if tag in self.tables and given.get("role") != "presentation":
            self.tables[tag] += 1
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self._open.append(tag)

    def _faults(self, tag: str, given: dict[str, str]) -> list[str]:
        found = [f"handler {name} on <{tag}>" for name in given if name.startswith("on")]
        found += [
            f"<{tag} {name}={given[name][:60]}>"
            for name in REACHING
            if name in given and not given[name].startswith(self.links)
        ]
        wrong = {
            f"element <{tag}>": tag not in self.allowed,
            "no lang": tag == "html" and not given.get("lang"),
            "th without scope": tag == "th" and given.get("scope") not in ("col", "row"),
            "img without alt or size": tag == "img" and not {"alt", "width", "height"} <= set(given),
            "svg that is neither hidden nor an image": tag == "svg"
            and given.get("aria-hidden") != "true"
            and given.get("role") != "img",
        }
        return found + [fault for fault, is_so in wrong.items() if is_so]

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if tag in ("td", "th", "a", "li"):
            self._text.append(" ")
        if not self._open or self._open[-1] != tag:
            self.faults.append(f"</{tag}> closes {self._open[-1:]}")
        else:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if not {"style", "svg", "title"} & set(self._open):
            self._text.append(data)
