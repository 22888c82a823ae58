"""What the configuration knows about events: who is behind an account, working hours, releases, and which noise rule is in force.

Belongs here: files that people keep beside `pipeline.yaml`, and the view `events` that has them (`connect`). Not here: stored
tables (`lake`). Everything is computed in the view, so that an edit of a file rewrites no stored table.
"""

from audit_pipeline.context.tables import connect

__all__ = ["connect"]
