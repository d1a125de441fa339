"""What people are told, and in which words. Nothing is sent here."""
