"""What a mutation run (``nox -s mutants``) needs beside mutmut: an order of tests, and a table."""
