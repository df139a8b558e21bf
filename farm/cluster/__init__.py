"""The workers: Ray Serve replicas, each a thin shell around an engine and a session."""
