"""What keeps the timeline append-only, whoever is at the database. Migrations put it back after every change.

A body may be emptied (retention), a seal may be set once; nothing else of a row ever changes, and no row
goes away.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

SQLITE = (
    "CREATE TRIGGER IF NOT EXISTS incident_events_keep BEFORE DELETE ON incident_events "
    "BEGIN SELECT RAISE(ABORT, 'the timeline is append-only'); END",
    "CREATE TRIGGER IF NOT EXISTS incident_events_content "
    "BEFORE UPDATE OF id, incident_id, seq, at, actor, kind, body_hash ON incident_events "
    "BEGIN SELECT RAISE(ABORT, 'the timeline is append-only'); END",
    "CREATE TRIGGER IF NOT EXISTS incident_events_body BEFORE UPDATE OF body ON incident_events "
    "WHEN NEW.body IS NOT NULL BEGIN SELECT RAISE(ABORT, 'the timeline is append-only'); END",
    "CREATE TRIGGER IF NOT EXISTS incident_events_seal BEFORE UPDATE OF seal, prev, hash ON incident_events "
    "WHEN OLD.seal IS NOT NULL BEGIN SELECT RAISE(ABORT, 'the timeline is sealed'); END",
)

POSTGRESQL = (
    """
    CREATE OR REPLACE FUNCTION incident_events_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'the timeline is append-only';
      END IF;
      IF (NEW.id, NEW.incident_id, NEW.seq, NEW.at, NEW.actor, NEW.kind, NEW.body_hash)
         IS DISTINCT FROM (OLD.id, OLD.incident_id, OLD.seq, OLD.at, OLD.actor, OLD.kind, OLD.body_hash)
         OR (NEW.body IS DISTINCT FROM OLD.body AND NEW.body IS NOT NULL) THEN
        RAISE EXCEPTION 'the timeline is append-only';
      END IF;
      IF OLD.seal IS NOT NULL
         AND (NEW.seal, NEW.prev, NEW.hash) IS DISTINCT FROM (OLD.seal, OLD.prev, OLD.hash) THEN
        RAISE EXCEPTION 'the timeline is sealed';
      END IF;
      RETURN NEW;
    END $$
    """,
    "DROP TRIGGER IF EXISTS incident_events_append_only ON incident_events",
    "CREATE TRIGGER incident_events_append_only BEFORE UPDATE OR DELETE ON incident_events "
    "FOR EACH ROW EXECUTE FUNCTION incident_events_append_only()",
)


def create(connection: Connection) -> None:
    """Create the triggers of this store, where they are missing."""
    statements = POSTGRESQL if connection.dialect.name == "postgresql" else SQLITE
    for statement in statements:
        connection.execute(text(statement))
