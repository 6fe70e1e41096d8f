"""Value-filtered decoding: a token is given out once the head has accepted it.

``value_filter``  what becomes of the rows of a step
``step``          what is decided in one step
``candidates``    from a refusal to the next candidate or the fallback
``held``          what the head says of held tokens
``late``          the rows whose tokens are held, and what they were sampled from
``search``        candidates for one token, and the fallback when none is acceptable
``draws``         further draws from the distribution of a row
"""
