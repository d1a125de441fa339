"""What the drift check remembers of the training rows: by day, and by column given the others."""
