"""The model package: its files and manifest, and the package in memory."""
