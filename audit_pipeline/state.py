"""The database of what people decided and what was mailed (`state_url`): tables and engine.

Belongs here: the schema and how it is opened. Not here: what decisions mean (findings) or how mail is sent (mail).
SQLAlchemy Core, so that SQLite and PostgreSQL behave alike.
"""

from __future__ import annotations

import sqlalchemy as sa

from audit_pipeline.errors import LakeError

metadata = sa.MetaData()

decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column(
        "seq",
        sa.BigInteger().with_variant(sa.Integer, "sqlite"),
        primary_key=True,
        autoincrement=False,
        comment="1, 2, 3 ... without a hole",
    ),
    sa.Column("finding_id", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("identity", sa.Text, nullable=False, comment="os | claimed | ssh | provider"),
    sa.Column("recorded_at", sa.Text, nullable=False, comment="RFC 3339, UTC"),
    sa.Column("effective_at", sa.Text, nullable=False, comment="RFC 3339, UTC"),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("payload", sa.Text, nullable=False, comment="canonical JSON"),
    sa.Column("previous", sa.Text, nullable=False, comment="hash of the decision before it; 64 zeros for the first"),
    sa.Column(
        "hash", sa.Text, nullable=False, unique=True, comment="SHA-256 of the row without hash and signature, RFC 8785"
    ),
    sa.Column("signature", sa.Text, nullable=True),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("period", sa.Text, primary_key=True),
    sa.Column("edition", sa.Integer, primary_key=True),
    sa.Column("recipient", sa.Text, primary_key=True),
    sa.Column("message_id", sa.Text, nullable=False),
    sa.Column("intended_at", sa.Text, nullable=False, comment="RFC 3339, UTC"),
    sa.Column("outcome", sa.Text, nullable=True, comment="accepted | refused | failed | null: not known"),
    sa.Column("outcome_at", sa.Text, nullable=True, comment="RFC 3339, UTC"),
    sa.Column("detail", sa.Text, nullable=True),
)


def open_state(url: str) -> sa.Engine:
    """Open the database and make what is missing.

    Raises:
        LakeError: the database cannot be opened; names it (without its password) and what to do.
    """
    try:
        engine = sa.create_engine(url)
        try:
            metadata.create_all(engine)
        except (sa.exc.OperationalError, sa.exc.ProgrammingError, sa.exc.IntegrityError):
            metadata.create_all(engine)  # another process made the same tables at the same time: now they are there
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        shown = sa.make_url(url).render_as_string(hide_password=True) if "://" in url else url
        raise LakeError(
            f"state_url {shown}: cannot be opened ({type(error).__name__}). Check that it exists, that you may write it, and that its driver is installed."
        ) from None
    return engine
