"""One run: a release on a lane and a runner, from its environment to its verdict."""
