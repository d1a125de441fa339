"""Everything that can fail in a retrain, tried in seconds on a sample and without a server."""
