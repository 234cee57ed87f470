"""`make bench`: the speed table. Ratios and times measured in one run, stated and never asserted."""
