"""Files or a query become a table, and each of its columns becomes facts."""
