output "secret_arn" {
  description = "Secret (JSON) with the SQLAlchemy URLs LAUREL_PREFECT_DATABASE, LAUREL_MLFLOW_STORE and LAUREL_MLFLOW_AUTH_STORE."
  value       = aws_secretsmanager_secret.urls.arn
  # A task that starts before the value is there fails.
  depends_on = [aws_secretsmanager_secret_version.urls]
}

output "instance" {
  description = "Name of the instance, for alarms."
  value       = aws_db_instance.main.identifier
}

output "host" {
  description = "Host name of the database, inside the VPC."
  value       = aws_db_instance.main.address
}
