"""A table becomes the file of a use case: what its columns are is inferred, and said."""
