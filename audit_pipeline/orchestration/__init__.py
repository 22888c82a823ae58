"""Dagster: the graph that strings the boxes together. Nothing outside this package imports Dagster.

No `from __future__ import annotations` here: Dagster reads annotations at run time.
"""
