-- The two roles that Stanch connects to a PostgreSQL server as. Run it once on each primary, as a role that may
-- create roles; standbys get them by replication. Neither is a superuser, owns anything or may write.
--
--   psql -v ON_ERROR_STOP=1 -f postgres-roles.sql
--
-- Then give each a password and put that into the file that the databases file names:
--
--   \password stanch_monitor
--   \password stanch_operator

-- Reads: who is connected, which statements run, how far standbys are, what takes space.
CREATE ROLE stanch_monitor LOGIN CONNECTION LIMIT 10;
GRANT pg_monitor TO stanch_monitor;

-- Signals: pg_signal_backend ends or cancels sessions of others and never a superuser's. It has to see what a session
-- does, or the condition in its statement never holds.
CREATE ROLE stanch_operator LOGIN CONNECTION LIMIT 10;
GRANT pg_signal_backend, pg_read_all_stats TO stanch_operator;

-- With PostgreSQL 16 or later and reserved_connections above 0, both get in when the application has taken every
-- other connection: that is when they are needed.
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pg_use_reserved_connections') THEN
    GRANT pg_use_reserved_connections TO stanch_monitor, stanch_operator;
  END IF;
END
$$;

-- A second line behind what Stanch sets for itself on every connection.
ALTER ROLE stanch_monitor SET default_transaction_read_only = on;
ALTER ROLE stanch_operator SET default_transaction_read_only = on;
ALTER ROLE stanch_monitor SET statement_timeout = '5s';
ALTER ROLE stanch_operator SET statement_timeout = '5s';
