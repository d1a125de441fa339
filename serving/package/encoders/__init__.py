"""What inputs of the wide kinds become: dates, images, texts."""
