"""Dagster's way in: `dagster-webserver -w workspace.yaml`, `dg dev`. Reads AUDIT_PIPELINE_CONFIG, else ./pipeline.yaml."""

from audit_pipeline.orchestration.build import load_definitions

defs = load_definitions()
