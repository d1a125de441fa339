"""Whether the running stack is correct."""
