"""Rows as ``mlflow models serve`` takes them."""
