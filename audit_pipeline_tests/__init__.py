"""Tests of audit_pipeline; the folders mirror the package."""
