output "name" {
  description = "Name of the endpoint: aws sagemaker-runtime invoke-endpoint --endpoint-name <name> ..."
  value       = var.name
  depends_on  = [aws_cloudformation_stack.endpoint]
}

output "arn" {
  description = "ARN of the endpoint, for the policy of whoever may call it (sagemaker:InvokeEndpoint)."
  value       = aws_cloudformation_stack.endpoint.outputs["Arn"]
}

output "models" {
  description = "Name of the model of each variant."
  value       = { for variant, one in local.models : variant => one.name }
}
