"""Tests of audit_pipeline.detections."""
