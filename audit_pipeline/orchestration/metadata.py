"""Metadata that a person wants to see at an asset: column schemas, small tables, bounded and with hostile text made visible.

Belongs here: shapes for Dagster's event log. Not here: what the numbers are. Each value stays small: the event log keeps it for ever.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa
from markupsafe import Markup

from audit_pipeline.lake.tables import TABLES
from audit_pipeline.ocsf.columns import COLUMNS
from audit_pipeline.privacy.masks import mask
from audit_pipeline.reports.picture import png
from audit_pipeline.reports.text import visible

MAX_ROWS = 20
MAX_TEXT = 160


def column_schema(table: str) -> dg.TableSchema:
    """The registered columns of a table."""
    docs = {column.name: column.doc for column in COLUMNS} if table == "events" else {}
    return dg.TableSchema(
        columns=[dg.TableColumn(field.name, str(field.type), docs.get(field.name)) for field in TABLES[table].schema]
    )


def rows(found: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """The first rows as a table."""
    return dg.MetadataValue.table(
        [dg.TableRecord({key: cell(value) for key, value in row.items()}) for row in found[:MAX_ROWS]]
        or [dg.TableRecord({"rows": "none"})]
    )


def arrow_rows(table: pa.Table, columns: Sequence[str]) -> dg.TableMetadataValue:
    """Some columns of the first rows of a table."""
    return rows(table.select(list(columns)).slice(0, MAX_ROWS).to_pylist())


def picture(svg: Markup) -> dg.MarkdownMetadataValue:
    """A small drawing, inside the metadata itself."""
    data = base64.b64encode(png(svg)).decode()
    return dg.MetadataValue.md(f"![picture](data:image/png;base64,{data})")


def cell(value: Any) -> str | int | float | bool | None:
    """One value that Dagster can keep and a browser can show; what looks like a secret is masked."""
    if value is None or isinstance(value, bool | int | float):
        return value
    return visible(mask(str(value)), MAX_TEXT)


def markdown(text: str) -> str:
    """Text as one Markdown paragraph, with what Markdown would take for markup made harmless."""
    for sign in "\\`*_{}[]<>()#+-!|":
        text = text.replace(sign, "\\" + sign)
    return " ".join(text.split())
