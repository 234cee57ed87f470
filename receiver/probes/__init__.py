"""Read-only looks for diagnosis: each bounded in time and size, each gives facts or leaves them missing."""
