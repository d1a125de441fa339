"""The local stack's programs, and how they are kept running and watched."""
