"""The compatibility page: what the registry says, as one file for people, and as rows."""
