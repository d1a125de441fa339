"""Whether a challenger may take the crown."""
