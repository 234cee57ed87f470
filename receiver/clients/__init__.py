"""Outside systems that are read or told: one file each, JSON turned into small types of our own."""
