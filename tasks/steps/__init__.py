"""The tasks of Prefect, a module for each flow."""
