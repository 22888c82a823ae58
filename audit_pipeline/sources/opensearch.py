"""OpenSearch: collected as Elasticsearch is (`elasticsearch`), by its own words for points in time."""

from __future__ import annotations

from audit_pipeline.sources._search import DIALECTS
from audit_pipeline.sources.base import Opening
from audit_pipeline.sources.elasticsearch import BLOCK, Options, SearchSource

__all__ = ["EXAMPLE", "Options", "open_source"]

_AUTH = """username: audit_reader
        password: {env: AUDIT_SEARCH_PASSWORD, file: null}
        # bearer: {env: AUDIT_SEARCH_TOKEN}
        # api_key: {env: AUDIT_SEARCH_KEY}"""
EXAMPLE = BLOCK.replace("NAME:", "opensearch_audit:", 1).replace("TYPE", "opensearch").replace("AUTH", _AUTH)


def open_source(opening: Opening) -> SearchSource:
    """The configured OpenSearch."""
    return SearchSource(DIALECTS["opensearch"], opening)
