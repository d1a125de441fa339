"""The upload of the prediction log to the lake, in a separate process."""
