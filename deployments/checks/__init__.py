"""Whether what runs is right."""
