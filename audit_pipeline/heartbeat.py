"""The call after a good night: who watches from outside notices a pipeline that has gone silent, which no mail of its own can tell.

Belongs here: one HTTP request, whose failure is a sentence and never an error of the night. Not here: when a night was good.
Watchers of this kind: https://healthchecks.io/docs/http_api/, https://deadmanssnitch.com/docs.
"""

from __future__ import annotations

import httpx

TIMEOUT_S = 10.0


def beat(url: str) -> str:
    """GET the URL once; `called`, or why it could not be. The URL itself is a secret of its watcher and is not in the answer."""
    try:
        answer = httpx.get(url, timeout=TIMEOUT_S, follow_redirects=False)
    except httpx.TimeoutException:
        return f"not called: no answer within {TIMEOUT_S:.0f} s. Mend heartbeat_url or the network."
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        return f"not called: {type(error).__name__}. Mend heartbeat_url or the network."
    if answer.is_success:
        return "called"
    return f"not called: the watcher answered {answer.status_code}. Check heartbeat_url."
