"""Processes: the application, the hot path, uvicorn, and the parent of several workers."""
