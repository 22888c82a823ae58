"""KPIs: one file each, computed a day at a time with what is known about the day's completeness beside every number."""

from audit_pipeline.kpis.catalogue import Kpi, catalogue

__all__ = ["Kpi", "catalogue"]
