"""HTTP in and out: bytes become typed calls here, and errors become answers."""
