"""The only place that touches vLLM.

``worker``    the worker class: start-up, the two calls of a step, the reporting calls
``host``      what vLLM will run, and what value-steer refuses to run on
``hooks``     the two seams: the feature at ``compute_logits``, the decision at the sampler
``requests``  what is known of each live request
``rows``      kept per-row buffers of the batch that is being sampled
``abstain``   the abstention decision on one batch
``steering``  one sampled batch from end to end
``guard``     what happens when a decision fails
``filtering`` value filtering of one sampled batch
``search``    the search for an acceptable token in one row
``draws``     further draws from the distribution that the host's sampler drew from
``run_ahead`` the next decode step, run before the scheduler asks for it
``lookahead`` the slot of the token that is run ahead
``ledger``    outcomes and counters
``self_test`` proof at start-up that the seams are reached
"""
