"""The contracts from release to release: snapshots of each, what changed, and how it is told."""
