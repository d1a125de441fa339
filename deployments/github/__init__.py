"""What a workflow says on a pull request."""
