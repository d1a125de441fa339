output "deploy_role_arn" {
  description = "Role of jobs of the environment that deploy."
  value       = aws_iam_role.main["deploy"].arn
}

output "train_role_arn" {
  description = "Role of jobs of the training environment, which start flow runs."
  value       = aws_iam_role.main["train"].arn
}

output "terraform_role_arns" {
  description = "Roles of jobs that run Terraform, by plan and apply."
  value       = { for key in keys(var.terraform_policy_arns) : key => aws_iam_role.main[key].arn }
}
