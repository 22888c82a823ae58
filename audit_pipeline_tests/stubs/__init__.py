"""Servers that speak like the vendors' and misbehave on demand; by hand: `python -m audit_pipeline_tests.stubs elasticsearch`.

Belongs here: one module a system, written from its published pages, strict where the vendor is strict. Not here: tests.
"""
