"""The only place that touches vLLM.

Start-up
    ``worker``     the worker class: start-up and the reporting calls
    ``modes``      heads and thresholds from the settings of one engine
    ``assembly``   the parts below, put together for it
    ``host``       what vLLM will run, and what value-steer refuses to run on
    ``hooks``      the seams: a step's two calls, the feature at ``compute_logits``, the sampler
    ``self_test``  proof that the seams are reached
    ``logs``       where log records go
    ``frontend``   requests whose settings are wrong are refused where they enter

Both modes
    ``steps``      what happens around each step once the engine serves
    ``admission``  how a request becomes a live one
    ``requests``, ``live_request``  what is known of each live request
    ``rows``       kept per-row buffers of the batch that is being sampled
    ``steering``   one sampled batch from end to end
    ``scoring``    the head on a batch of hidden states
    ``agreement``  the same decision on every rank
    ``host_copy``  small tensors between device and host, without stalling the device
    ``guard``      what happens when a decision fails
    ``controls``   what an operator sees of a running engine, and may change in it

Abstention
    ``abstain``    the decision on one batch
    ``streaks``    how long a request has been below its threshold
    ``forcing``    what is said in place of what is sampled, once a request is given up
    ``speculation``  the same where a step gives a request several tokens

Value filtering
    ``filtering``  what becomes of the tokens that rows hold
    ``runners``    what differs between the host's two model runners

Around the step
    ``delivery``   tokens on their way out, and what is said of them
    ``scheduling`` the scheduler's side, outcomes and counters
"""
