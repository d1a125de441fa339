"""What holds for every request."""
