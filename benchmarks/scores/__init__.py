"""How fast batch scoring is, and in how much memory."""
