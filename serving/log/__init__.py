"""What was answered, on this machine's disk before the answer goes out."""
