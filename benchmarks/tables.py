"""Sections of `docs/measurements.md` that benchmarks write: each replaces what stands between its own two markers.

Belongs here: the file's frame. Not here: any number (the benchmark that measured it).
"""

from __future__ import annotations

from pathlib import Path

FILE = Path(__file__).parent.parent / "docs" / "measurements.md"
_HEAD = "# Measurements\n\nWritten by the programs in `benchmarks/`; a section is replaced whenever its program runs.\n"


def write_section(name: str, markdown: str, file: Path = FILE) -> None:
    """Put a section between `<!-- name -->` and `<!-- /name -->`, at the end where it is not there yet."""
    text = file.read_text(encoding="utf-8") if file.exists() else _HEAD
    first, last = f"<!-- {name} -->", f"<!-- /{name} -->"
    section = f"{first}\n{markdown.strip()}\n{last}"
    if first in text and last in text:
        before, after = text.split(first, 1)[0], text.split(last, 1)[1]
        text = before + section + after
    else:
        text = f"{text.rstrip()}\n\n{section}\n"
    file.write_text(text, encoding="utf-8")
