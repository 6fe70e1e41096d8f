"""The real server under hours of mixed load: ``python -m benchmarks.soak --minutes 30``.

``schedule``  what is asked, from a seed
``comparison``  what an answer under load must have in common with the one given alone
``gates``     what the run must show, and the arithmetic of it
``census``    counts what is alive in the server's processes; runs there
``serving``   the server, its processes and their memory
``client``    one request
``load``      all of them
``record``    what a run keeps, and its report
"""
