"""The options of each subcommand, without what it needs to run."""
