"""The steps of ``drift_check``: judge a window, record the verdict, and tell of silence."""
