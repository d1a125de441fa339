"""What many small files of the prediction log cost, before and after they are compacted."""
