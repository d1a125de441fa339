"""A policy on trial: history as the loop would have lived it."""
