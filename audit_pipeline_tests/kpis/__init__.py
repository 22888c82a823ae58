"""Tests of audit_pipeline.kpis."""
