"""MLflow, Prefect, Slack and the lake, as far as the service asks them."""
