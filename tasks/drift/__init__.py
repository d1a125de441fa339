"""Whether the world is still the one that was learned."""
