"""What flows write and the service reads: each record once."""
