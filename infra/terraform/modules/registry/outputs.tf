output "urls" {
  description = "Address of each repository by its name."
  value       = { for name, repository in aws_ecr_repository.main : name => repository.repository_url }
}

output "arns" {
  description = "ARN of each repository by its name."
  value       = { for name, repository in aws_ecr_repository.main : name => repository.arn }
}
