"""Completeness and data quality: what a day's tables can be trusted for, and why.

Belongs here: profiles, the completeness verdict, expectations as data. Not here: collecting (`sources`) or showing (`reports`).
"""
