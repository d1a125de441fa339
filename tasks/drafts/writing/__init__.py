"""A draft becomes Python source, and a report for a terminal."""
