"""A child process that file modes bind: root ignores them, so it is started without the two capabilities that say so.

Belongs here: the words before a command. capabilities(7): CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH; setpriv(1) is of util-linux.
"""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

_SETPRIV = ["setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search"]


def bound_by_modes() -> list[str]:
    """The words to put before a command; skips the test where a process without rights cannot be had."""
    if os.geteuid() != 0:
        return []
    if (
        shutil.which("setpriv")
        and subprocess.run([*_SETPRIV, "true"], capture_output=True, check=False).returncode == 0
    ):
        return _SETPRIV
    pytest.skip("neither root nor setpriv: file modes bind nobody here")
