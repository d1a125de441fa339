output "secret_arns" {
  description = "Secrets (JSON) by the database's user: prefect (LAUREL_PREFECT_DATABASE), mlflow (LAUREL_MLFLOW_STORE, LAUREL_MLFLOW_AUTH_STORE) and laurel, the administrator (LAUREL_DATABASE_ADMIN)."
  value       = { for user, secret in aws_secretsmanager_secret.urls : user => secret.arn }
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

output "client_rules" {
  description = "Ids of the rules by which the clients reach it."
  value       = [for rule in aws_vpc_security_group_ingress_rule.client : rule.id]
}
