"""The needs of value-steer in vLLM, as rows, and the check of any vLLM source against them.

``surface`` a row · ``rows`` all rows · ``needs`` what a row can demand · ``sources`` where vLLM's
text comes from · ``syntax``, ``lookup`` reading it · ``checker``, ``report`` the verdict per row ·
``history`` the same over many releases
"""
