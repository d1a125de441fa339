"""Rows in the forms that ``mlflow models serve`` accepts."""
