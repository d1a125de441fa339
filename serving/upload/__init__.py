"""The prediction log goes to the lake, from a process of its own."""
