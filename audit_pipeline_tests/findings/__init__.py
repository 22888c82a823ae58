"""Tests of audit_pipeline.findings."""
