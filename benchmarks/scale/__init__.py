"""What a use case costs the servers around it."""
