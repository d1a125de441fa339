"""What a step needs from outside: blocks, retries, Slack threads and a use case's own code."""
