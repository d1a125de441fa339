"""Whether a challenger may go on, judged on real traffic while it runs."""
