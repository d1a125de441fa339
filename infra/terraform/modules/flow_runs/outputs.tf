output "task_role_arn" {
  description = "Role of the flows' code."
  value       = aws_iam_role.task.arn
  depends_on  = [aws_iam_role_policy.task]
}

output "execution_role_arn" {
  description = "Role by which ECS starts a flow run."
  value       = module.execution_role.arn
}

output "command_role_arns" {
  description = "Task role and execution role of a command."
  value       = [aws_iam_role.command.arn, module.command_execution_role.arn]
}

output "log_group" {
  description = "Log group of flow runs."
  value       = aws_cloudwatch_log_group.main["flow-runs"].name
}

output "log_group_arn" {
  description = "ARN of the log group of flow runs."
  value       = aws_cloudwatch_log_group.main["flow-runs"].arn
}

output "command_log_group_arn" {
  description = "ARN of the log group of commands."
  value       = aws_cloudwatch_log_group.main["command"].arn
}

output "security_group" {
  description = "Security group of flow runs and commands."
  value       = aws_security_group.main.id
  depends_on  = [aws_vpc_security_group_egress_rule.out]
}

output "command_family" {
  description = "Family of the task definition for a command inside the cluster."
  value       = "${var.name}-command"
}

output "command_definition_arn" {
  description = "ARN of that task definition without its revision, which means the newest; null before the first image."
  value       = one(aws_ecs_task_definition.command[*].arn_without_revision)
}
