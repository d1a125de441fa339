"""How much sooner a search ends on several workers."""
