"""A recipe becomes a fitted model, is tuned, and scores rows that it has not learned."""
