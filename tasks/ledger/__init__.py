"""What was decided, who is champion, and what follows from it."""
