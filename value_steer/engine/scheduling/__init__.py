"""The scheduler's side: what a step that took a token back means there, and what became of whom.

``registration``  lets an engine that steers build a scheduler that knows of it
``scheduler``     the host's schedulers with that knowledge
``reporting``     taking in what the worker says, and saying why a request has ended
``late``          tokens that come one step late, or are rolled back
``stale``         outputs that were on their way when their request was preempted
``ledger``        outcomes and counters, where the scheduler is
``sums``          what is summed up of the requests that run
``outcomes``      their records
``recording``     writing down the answers of the control group
``mirror``        where a worker reads them
"""
