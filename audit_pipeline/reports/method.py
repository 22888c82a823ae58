"""How a report was made, and what proves it: scope, parameters, versions, and the heads of the evidence chains.

Belongs here: facts about the report itself ("information produced by the entity", which an auditor tests first).
"""

from __future__ import annotations

import hashlib

import msgspec
import rfc8785

from audit_pipeline import __version__
from audit_pipeline.errors import LakeError
from audit_pipeline.lake import roots
from audit_pipeline.lake.store import Lake
from audit_pipeline.ocsf.columns import OCSF_VERSION
from audit_pipeline.reports.inputs import WINDOW, Inputs, Row
from audit_pipeline.settings import Settings

_SECRET = {"smtp": True, "state_url": True, "heartbeat_url": True}
"""keys that hold a password or a token, or may: they do not enter the hash"""


def method(inputs: Inputs) -> Row:
    """Scope, parameters and versions; definitions stand in the page's text."""
    settings = inputs.settings
    sources = {
        name: {
            "format": ", ".join(source.formats),
            "zone": source.zone,
            "settles_after_s": source.settles_after.total_seconds(),
        }
        for name, source in sorted(settings.sources.items())
    }
    return {
        "period": "one UTC day, from its midnight (included) to the next (excluded)",
        "history_days": WINDOW,
        "run_at": settings.run_at.isoformat("minutes"),
        "start": settings.start.isoformat(),
        "sources": sources,
        "people": {"page": settings.privacy.page, "mail": settings.privacy.mail},
        "versions": {"audit_pipeline": __version__, "ocsf": OCSF_VERSION},
        "config_sha256": config_hash(settings),
    }


def config_hash(settings: Settings) -> str:
    """SHA-256 (hex) over RFC 8785 of the configuration, without keys that hold or may hold a secret."""
    kept = settings.model_dump(mode="json", by_alias=True, exclude=_SECRET)
    for source in kept["sources"].values():
        source.pop("storage")
    return hashlib.sha256(rfc8785.dumps(kept)).hexdigest()


def evidence(inputs: Inputs) -> Row:
    """Each source's chain in short, the root over their heads, and the head of the decisions' chain as of the day.

    A chain that cannot be read has a problem, and then there is no root.
    """
    chains = [_chain(inputs.lake, source) for source in inputs.sources]
    broken = any(chain["problem"] for chain in chains)
    return {
        "chains": chains,
        "segments": sum(chain["segments"] for chain in chains),
        "bytes": sum(chain["bytes"] for chain in chains),
        "root": None if broken else roots.daily_root(inputs.lake, inputs.sources),
        "decisions": dict(zip(("seq", "hash"), inputs.decisions_head, strict=True)),
    }


def _chain(lake: Lake, source: str) -> Row:
    chain: Row = {"source": source, "entries": 0, "segments": 0, "bytes": 0, "problem": None}
    chain |= dict.fromkeys(("head_sequence", "head_hash", "collected_at", "clock"))
    try:
        heads = roots.heads(lake, source)
    except (msgspec.DecodeError, UnicodeDecodeError, OSError, LakeError) as error:
        return {**chain, "problem": f"the chain cannot be read ({type(error).__name__}): run audit-pipeline verify"}
    if heads:
        last = heads[-1]
        chain |= {
            "head_sequence": last.sequence,
            "head_hash": last.hash,
            "collected_at": last.collected_at,
            "clock": last.clock,
        }
    segments = [head for head in heads if head.segment]
    return {**chain, "entries": len(heads), "segments": len(segments), "bytes": sum(head.bytes for head in segments)}
