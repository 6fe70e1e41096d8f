"""Abstention with speculative decoding: a step may give a request several tokens.

``rows``      a batch in which a request has one row per draft, and one more
``judging``   each row whose token was accepted is judged; the first that fires cuts the rest off
``steering``  one step from end to end
"""
