"""Where vLLM's source is read: a folder, an archive, or a wheel on the package index."""
