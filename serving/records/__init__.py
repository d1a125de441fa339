"""The records that flows write and the service reads, each declared once."""
