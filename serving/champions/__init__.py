"""The versions that serve, and how the service follows the crown."""
