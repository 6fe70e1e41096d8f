"""The only place that touches vLLM.

``worker``    the worker class: start-up, the two calls of a step, the reporting calls
``host``      what vLLM will run, and what value-steer refuses to run on
``hooks``     the two seams: the feature at ``compute_logits``, the decision at the sampler
``requests``  what is known of each live request
``rows``      kept per-row buffers of the batch that is being sampled
``abstain``   the abstention decision on one batch
``steering``  one step from end to end, and what happens when it fails
``ledger``    outcomes and counters
``self_test`` proof at start-up that the seams are reached
"""
