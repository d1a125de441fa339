"""How Laurel is brought up, and what is started from outside of it."""
