"""Tests of `audit_pipeline.anomaly`."""
