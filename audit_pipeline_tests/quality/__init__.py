"""Tests of `audit_pipeline.quality`."""
