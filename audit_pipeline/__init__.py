"""audit_pipeline: audit logs as a loop that closes."""

__version__ = "0.1.0"
