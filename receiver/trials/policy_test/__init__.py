"""`stanch policy test`: the unit tests of policies, as promtool has them for alerting rules.

A test tells a story: which alerts arrive when, what the named queries say, what is in the cluster, who says
yes. It is played by the real pipeline over a real store and the demo world's cluster, on a clock that jumps
from one due moment to the next, and what then is so is compared with what the test expects.
"""
