"""What is found in a window: broken values, columns that moved, relations that are lost."""
