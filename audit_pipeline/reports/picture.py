"""The mail's one picture: the sources' last 14 days as PNG, made from SVG with a bundled font, so the same bytes everywhere.

Belongs here: layout with text, plain colours, the call of resvg. Not here: the shapes (`charts`).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import resvg_py
from markupsafe import Markup

from audit_pipeline.reports import charts
from audit_pipeline.reports.coverage import VERDICT_WORDS
from audit_pipeline.reports.text import visible

WIDTH, SCALE, ROW, TOP = 592, 2, 30, 30
MOST_SOURCES = 12
_FONT = Path(__file__).with_name("fonts") / "DejaVuSans-subset.ttf"
_NAMES, _CELLS, _WORDS = 8, 168, 488
_STYLE = Markup("""
text{font-family:"DejaVu Sans";font-size:14px;fill:#5b616b}.name{fill:#16191d;font-size:14px}
.c-below{fill:#cfe3e2}.c-usual{fill:#8fbcbd}.c-above{fill:#1f6b75}.c-more{fill:none;stroke:#ffffff;stroke-width:1.6}.c-proof{stroke:#16191d;stroke-width:2}
.c-partial{fill:#fdf3df}.c-hatch{stroke:#9a5b00;stroke-width:1.6;fill:none}
.c-missing{fill:#ffffff;stroke:#b3261e;stroke-width:2}.c-cross{stroke:#b3261e;stroke-width:2}
.c-unknown{fill:#ffffff;stroke:#5b616b;stroke-width:1.6;stroke-dasharray:1.6 2.4}.c-blank{stroke:#b9bec6;stroke-width:2}
""")


def strips_svg(report: dict[str, Any]) -> Markup:
    """The picture as SVG: a row a source, worst first, with its name and the day's verdict."""
    shown = report["sources"][:MOST_SOURCES]
    height = TOP + ROW * len(shown) + 8
    rows = Markup("").join(_row(row, TOP + ROW * index) for index, row in enumerate(shown))
    days = report["days"]
    axis = Markup('<text x="{}" y="20">{}</text><text x="{}" y="20" text-anchor="end">{}</text>').format(
        _CELLS, days[0][5:], _WORDS - 8, days[-1][5:]
    )
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" viewBox="0 0 {0} {1}"><style>{2}</style>'
        '<rect width="{0}" height="{1}" fill="#ffffff"/>{3}{4}</svg>'
    ).format(WIDTH, height, _STYLE, axis, rows)


def _row(row: dict[str, Any], y: int) -> Markup:
    step = (_WORDS - 8 - _CELLS + 3) / len(row["days"])
    cells = Markup("").join(
        charts.cell(day, _CELLS + step * index, y, step - 3, ROW - 7) for index, day in enumerate(row["days"])
    )
    name = Markup('<text class="name" x="{}" y="{}">{}</text>').format(_NAMES, y + 17, visible(row["name"], 18))
    word = Markup('<text x="{}" y="{}">{}</text>').format(_WORDS, y + 17, VERDICT_WORDS[row["today"]["verdict"]])
    return name + cells + word


@lru_cache(maxsize=8)
def png(svg: Markup) -> bytes:  # many mails of a night hold the same one
    """The picture at twice its size, on a white plate (a dark mail client cannot hide it); no font of the system is used."""
    return bytes(
        resvg_py.svg_to_bytes(
            svg_string=str(svg),
            background="#ffffff",
            zoom=SCALE,
            skip_system_fonts=True,
            font_files=[str(_FONT)],
            font_family="DejaVu Sans",
            sans_serif_family="DejaVu Sans",
        )
    )


def size(svg_rows: int) -> tuple[int, int]:
    """Width and height in CSS pixels of a picture with so many sources."""
    return WIDTH, TOP + ROW * min(svg_rows, MOST_SOURCES) + 8
