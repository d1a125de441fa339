output "parameters" {
  description = "ARN of each parameter by the environment variable that it becomes."
  value       = { for name, parameter in aws_ssm_parameter.main : name => parameter.arn }
}

output "secrets" {
  description = "ARN of each secret by its name."
  value       = { for name, secret in aws_secretsmanager_secret.main : name => secret.arn }
  # A task that starts before the values are there fails.
  depends_on = [aws_secretsmanager_secret_version.main]
}
