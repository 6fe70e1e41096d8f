"""The only place that touches vLLM.

Start-up
    ``worker``    the worker class: start-up and the reporting calls
    ``assembly``  the parts below, put together from the settings of one engine
    ``host``      what vLLM will run, and what value-steer refuses to run on
    ``hooks``     the seams: a step's two calls, the feature at ``compute_logits``, the sampler
    ``lookahead`` the scheduler's part: a slot for the token that is run ahead, steps done again
    ``self_test`` proof that the seams are reached

Both modes
    ``steps``     what happens around each step once the engine serves
    ``requests``, ``live_request``  what is known of each live request
    ``rows``      kept per-row buffers of the batch that is being sampled
    ``steering``  one sampled batch from end to end
    ``scoring``   the head on a batch of hidden states
    ``agreement`` the same decision on every rank
    ``guard``     what happens when a decision fails
    ``ledger``    outcomes and counters

Abstention
    ``abstain``   the decision on one batch

Value filtering
    ``filtering``    one sampled batch
    ``run_ahead``    the next decode step, run before the scheduler asks for it
    ``plan``         the batch and its filtered rows
    ``repetition``   the scheduler's side of a step that a request does again
    ``looks``        what a step that was run ahead shows of each row
    ``search``       the search for an acceptable token of one request
    ``draws``        further draws from the distribution that the host's sampler drew from
    ``runners``      what differs between the host's two model runners
"""
