"""May we ship: what a release lacks, the gate, what is derived, the packages."""
