"""The tables, the journal, the timeline and the outbox: one schema, two stores.

Transaction bodies are plain functions over a SQLAlchemy connection. On SQLite they run in the one writer
thread, on PostgreSQL inside an asynchronous connection's own; the text is the same.
"""
