"""Files as a source: where they lie, how they are written, and what their values mean."""
