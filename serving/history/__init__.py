"""The flows' records, as the service tells them."""
