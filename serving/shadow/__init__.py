"""The process in which a shadow scores copies of the champion's requests."""
