output "name" {
  description = "Name of the endpoint: aws sagemaker-runtime invoke-endpoint --endpoint-name <name> ..."
  value       = aws_sagemaker_endpoint.endpoint.name
}

output "arn" {
  description = "ARN of the endpoint, for the policy of whoever may call it (sagemaker:InvokeEndpoint)."
  value       = aws_sagemaker_endpoint.endpoint.arn
}

output "models" {
  description = "Name of the model of each variant."
  value       = { for variant, one in local.models : variant => one.name }
}
