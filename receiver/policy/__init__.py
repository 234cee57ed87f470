"""Every decision, as pure functions over frozen data: match, classify, propose, guard, approve, verify.

Nothing here asks the world or the time; whoever calls hands both in.
"""
