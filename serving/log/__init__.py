"""The prediction log on this machine's disk, written before the answer is sent."""
