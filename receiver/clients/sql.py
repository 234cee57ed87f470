"""Every statement that is sent to a database that is looked after; values travel beside it, never in it."""

from __future__ import annotations

MAX_BACKENDS = 1000
MAX_LISTED = 20

# Who may not see others' sessions is shown rows without a word of what they do, and counts itself alone.
SIGHT = "SELECT pg_has_role('pg_read_all_stats', 'USAGE') AS sees, clock_timestamp() AS at"
SEEN = """a.pid, a.backend_start, a.backend_type, a.usename, a.datname, a.application_name, a.state,
  a.state_change, a.query_start, left(a.query, 1000) AS query, clock_timestamp() AS at"""
# The application's own sessions in the connection's database: never a superuser's, a replication's, ours.
OURS = """FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid
WHERE a.backend_type = 'client backend' AND a.pid <> pg_backend_pid() AND a.datname = $1
  AND a.usename = ANY($2::text[]) AND NOT r.rolsuper AND NOT r.rolreplication
  AND a.state_change IS NOT NULL"""

BACKEND = f"SELECT {SEEN} FROM pg_stat_activity a WHERE a.pid = $1"
BACKENDS = f"SELECT {SEEN} {OURS} ORDER BY a.state_change LIMIT {MAX_BACKENDS}"
# Who waits for whom is asked for those who wait only: each question stops the lock table for a moment.
STATEMENTS = f"""WITH waiting AS MATERIALIZED (
  SELECT pid, pg_blocking_pids(pid) AS behind FROM pg_stat_activity WHERE wait_event_type = 'Lock')
SELECT {SEEN}, a.wait_event_type, a.wait_event,
  (SELECT count(*)::int FROM waiting w WHERE a.pid = ANY(w.behind)) AS blocks,
  coalesce((SELECT cardinality(w.behind) FROM waiting w WHERE w.pid = a.pid), 0) AS blocked_by
{OURS} AND a.state = 'active' AND clock_timestamp() - a.query_start >= $3
ORDER BY blocks DESC, a.query_start LIMIT {MAX_LISTED}"""
# Walsenders, autovacuum and background workers have slots of their own.
USAGE = """SELECT coalesce(usename, '-') AS usename, coalesce(application_name, '') AS application_name,
  coalesce(state, '-') AS state, count(*)::int AS sessions,
  current_setting('max_connections')::int AS most,
  current_setting('superuser_reserved_connections')::int
    + coalesce(current_setting('reserved_connections', true)::int, 0) AS reserved
FROM pg_stat_activity WHERE backend_type = 'client backend' GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3"""
# The time of the last replayed transaction grows for ever on a standby with nothing to do; one without its
# primary has replayed all it has: so caught up is zero only while it receives, and paused is for ever.
LAG = """SELECT pg_is_in_recovery() AS standby,
  CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END AS paused,
  EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming') AS streaming,
  CASE WHEN NOT pg_is_in_recovery() THEN NULL
    WHEN pg_is_wal_replay_paused() THEN 'Infinity'::float8
    WHEN NOT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming') THEN NULL
    WHEN pg_last_wal_receive_lsn() IS NOT DISTINCT FROM pg_last_wal_replay_lsn() THEN 0
    ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 END AS lag"""
STANDBYS = f"""SELECT application_name, state, sync_state, extract(epoch FROM replay_lag)::float8 AS lag,
  pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::float8 AS behind
FROM pg_stat_replication ORDER BY behind DESC NULLS LAST LIMIT {MAX_LISTED}"""
SLOTS = f"""SELECT slot_name, slot_type, active, pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery()
    THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END, restart_lsn)::float8 AS kept
FROM pg_replication_slots ORDER BY active, kept DESC NULLS LAST LIMIT {MAX_LISTED}"""
ARCHIVER = """SELECT failed_count, last_failed_wal, last_failed_time, last_archived_time,
  coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false) AS failing
FROM pg_stat_archiver"""
# Sizing every table of a large database takes long, so those that look large are sized.
TABLES = f"""SELECT c.oid::regclass::text AS name, pg_total_relation_size(c.oid)::float8 AS bytes
FROM (SELECT oid FROM pg_class WHERE relkind IN ('r', 'm') ORDER BY relpages DESC LIMIT 50) c
ORDER BY bytes DESC NULLS LAST LIMIT {MAX_LISTED}"""
DATABASE = """SELECT pg_database_size(current_database())::float8 AS bytes,
  (SELECT temp_bytes::float8 FROM pg_stat_database WHERE datname = current_database()) AS temporary"""
WAL = "SELECT coalesce(sum(size), 0)::float8 AS bytes FROM pg_ls_waldir()"
# Without pg_read_all_stats the condition of a signal sees nobody's state and never holds.
MAY = """SELECT pg_has_role(o.oid, 'pg_signal_backend', 'USAGE')
  AND pg_has_role(o.oid, 'pg_read_all_stats', 'USAGE')
  AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = ANY($2::text[]) AND r.rolsuper) AS may
FROM pg_roles o WHERE o.rolname = $1"""
# One backend a statement, and no wait: over a set, or while waiting, the look ages and a session that woke up
# meanwhile would be ended. The microseconds between the row and its signal are PostgreSQL's own.
SIGNAL = """SELECT {function}(pid) AS told FROM pg_stat_activity
WHERE pid = $1 AND backend_start = $2 AND state = $3 AND state_change = $4
  AND query_start IS NOT DISTINCT FROM $5 AND backend_type = 'client backend'
  AND usename = ANY($6::text[]) AND datname = $7"""
TERMINATE = SIGNAL.format(function="pg_terminate_backend")
CANCEL = SIGNAL.format(function="pg_cancel_backend")
