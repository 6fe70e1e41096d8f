"""The scheduler's side: what a step that took a token back means there, and what became of whom.

``registration``  lets an engine that steers build a scheduler that knows of it
``scheduler``     the host's schedulers with that knowledge
``stale``         outputs that were on their way when their request was preempted
``ledger``        outcomes and counters
"""
