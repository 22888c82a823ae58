"""The errors that a user can mend: what happened, where, and what to do.

Belongs here: exceptions that the command line prints without a traceback. Not here: errors of one package that never leave it.
"""

from __future__ import annotations


class UserError(Exception):
    """Something a person can mend; the message says what happened, where, and what to do."""

    exit_code = 1


class UsageError(UserError):
    """The command was used wrongly (exit code 2)."""

    exit_code = 2


class ConfigError(UsageError):
    """The configuration cannot be used; names file, key and remedy."""


class LakeError(UserError):
    """The lake cannot be read or written."""


class BusyError(UserError):
    """Another run holds what this one needs, and did not let go in time."""
