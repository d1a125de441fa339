"""Who serves, and how the service follows the crown."""
