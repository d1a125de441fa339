"""Champion and challenger at once: who answers, and when a challenger is reverted at once."""
