"""Every table, readable top to bottom.

Times are seconds since the epoch on the incident clock, except ``lease_until``, which is the store's own
clock. JSON is kept as the text that was hashed, so that no column type rewrites it.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

metadata = MetaData()

# SQLite numbers rows itself only for INTEGER keys.
Id = BigInteger().with_variant(Integer, "sqlite")

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Id, primary_key=True),
    Column("received_at", Double, nullable=False),
    Column("source", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("compressed", Boolean, nullable=False, server_default=false()),
    Column("fail_count", Integer, nullable=False, server_default=text("0")),
    Column("done_at", Double),
    Index(
        "deliveries_waiting",
        "id",
        sqlite_where=text("done_at IS NULL"),
        postgresql_where=text("done_at IS NULL"),
    ),
    Index("deliveries_done", "done_at"),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", Id, primary_key=True),
    Column("received_at", Double, nullable=False),
    Column("source", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", Id, primary_key=True),
    Column("identity", Text, nullable=False, unique=True),
    Column("source", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("annotations", Text, nullable=False),
    Column("facts", Text, nullable=False),
    Column("firing", Boolean, nullable=False),
    Column("starts_at", Double, nullable=False),
    Column("ends_at", Double),
    Column("how", Text),
    Column("incident_id", Id),
    Column("origin", Text, nullable=False),
    Column("listed", Boolean, nullable=False, server_default=false()),
    Column("absent_rounds", Integer, nullable=False, server_default=text("0")),
    Column("doubted_at", Double),
    Column("first_seen", Double, nullable=False),
    Column("last_seen", Double, nullable=False),
    Column("seen", Integer, nullable=False, server_default=text("1")),
    Index("alerts_incident", "incident_id"),
    Index("alerts_firing", "id", sqlite_where=text("firing"), postgresql_where=text("firing")),
)

incidents = Table(
    "incidents",
    metadata,
    Column("id", Id, primary_key=True),
    Column("key", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("severity", Text),
    Column("title", Text, nullable=False),
    Column("plan_id", Text),
    Column("snapshot", Text, nullable=False),
    Column("opened_at", Double, nullable=False),
    Column("resolved_at", Double),
    Column("version", Integer, nullable=False, server_default=text("0")),
    Column("next_due_at", Double),
    Column("lease_owner", Text),
    Column("lease_token", Id, nullable=False, server_default=text("0")),
    Column("lease_until", Double),
    Column("fail_count", Integer, nullable=False, server_default=text("0")),
    # One open incident of a key; both stores know partial indexes.
    Index(
        "incidents_open_key",
        "key",
        unique=True,
        sqlite_where=text("resolved_at IS NULL"),
        postgresql_where=text("resolved_at IS NULL"),
    ),
    Index("incidents_key", "key", "id"),
    Index(
        "incidents_due",
        "next_due_at",
        sqlite_where=text("next_due_at IS NOT NULL"),
        postgresql_where=text("next_due_at IS NOT NULL"),
    ),
    Index(
        "incidents_leased",
        "lease_owner",
        sqlite_where=text("lease_owner IS NOT NULL"),
        postgresql_where=text("lease_owner IS NOT NULL"),
    ),
)

incident_events = Table(
    "incident_events",
    metadata,
    Column("id", Id, primary_key=True),
    Column("incident_id", Id, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("at", Double, nullable=False),
    Column("actor", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("body", Text),
    Column("body_hash", Text, nullable=False),
    Column("seal", Id, unique=True),
    Column("prev", Text),
    Column("hash", Text),
    UniqueConstraint("incident_id", "seq"),
    Index(
        "incident_events_unsealed",
        "id",
        sqlite_where=text("seal IS NULL"),
        postgresql_where=text("seal IS NULL"),
    ),
)

facts = Table(
    "facts",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("body", Text, nullable=False),
    Column("created_at", Double, nullable=False),
)

plans = Table(
    "plans",
    metadata,
    Column("id", Id, primary_key=True),
    Column("incident_id", Id, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("digest", Text, nullable=False),
    Column("policy", Text, nullable=False),
    Column("remediation", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("guards", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("mode", Text),
    Column("approved_at", Double),
    Column("executed_at", Double),
    Column("outcome", Text),
    Column("expires_at", Double),
    Index("plans_incident", "incident_id"),
    Index("plans_expiring", "expires_at"),
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", Id, primary_key=True),
    Column("plan_id", Text, nullable=False),
    Column("round", Integer, nullable=False),
    Column("digest", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("groups", Text, nullable=False),
    Column("decision", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("known_by", Text, nullable=False, server_default=""),
    Column("uid", Text, nullable=False, server_default=""),
    UniqueConstraint("plan_id", "round", "subject"),
)

intents = Table(
    "intents",
    metadata,
    Column("id", Text, primary_key=True),
    Column("plan_id", Text, nullable=False),
    Column("incident_id", Id, nullable=False),
    Column("policy", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("step", Integer, nullable=False),
    Column("target", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("resource_version", Text),
    Column("generation", Integer),
    Column("sends", Integer, nullable=False, server_default=text("0")),
    Column("unanswered", Boolean, nullable=False, server_default=false()),
    Column("state", Text, nullable=False),
    Column("lease_token", Id, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("sent_at", Double, nullable=False),
    Column("done_at", Double),
    Column("outcome", Text),
    Column("late_outcome", Text),
    Index("intents_target", "target", "created_at"),
    Index("intents_created", "created_at"),
    # One open intent of an object keeps a later one from overwriting a marker that must still be read.
    Index(
        "intents_open_target",
        "target",
        unique=True,
        sqlite_where=text("state IN ('started', 'unknown')"),
        postgresql_where=text("state IN ('started', 'unknown')"),
    ),
)

target_locks = Table(
    "target_locks",
    metadata,
    Column("target", Text, primary_key=True),
    Column("plan_id", Text, nullable=False),
    Column("incident_id", Id, nullable=False),
    Column("since", Double, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Id, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("destination", Text, nullable=False),
    Column("incident_id", Id),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("next_due_at", Double),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("lease_owner", Text),
    Column("lease_until", Double),
    Column("sent_at", Double),
    Column("dead_at", Double),
    Column("last_error", Text),
    Index(
        "outbox_due",
        "next_due_at",
        sqlite_where=text("next_due_at IS NOT NULL"),
        postgresql_where=text("next_due_at IS NOT NULL"),
    ),
)

switches = Table(
    "switches",
    metadata,
    Column("name", Text, primary_key=True),
    Column("on", Boolean, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Double, nullable=False),
)

security_locks = Table(
    "security_locks",
    metadata,
    Column("id", Id, primary_key=True),
    Column("scope", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("released_at", Double),
    Column("incident_id", Id),
)

isolations = Table(
    "isolations",
    metadata,
    Column("id", Id, primary_key=True),
    Column("incident_id", Id, nullable=False),
    Column("act", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", Double, nullable=False),
)

duties = Table(
    "duties",
    metadata,
    Column("name", Text, primary_key=True),
    Column("next_due_at", Double, nullable=False),
    Column("lease_owner", Text),
    Column("lease_until", Double),
    Column("state", Text, nullable=False, server_default=text("'{}'")),
)
