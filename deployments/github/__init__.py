"""What a workflow reports on a pull request."""
