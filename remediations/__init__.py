"""The cures, one file each. They read through a door they are given and plan; they never write."""
