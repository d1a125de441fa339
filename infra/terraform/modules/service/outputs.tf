output "service" {
  description = "Name of the ECS service."
  value       = aws_ecs_service.main.name
}

output "role_arns" {
  description = "Task role and execution role."
  value       = [aws_iam_role.task.arn, module.execution_role.arn]
}

output "task_role" {
  description = "Name of the task role."
  value       = aws_iam_role.task.name
}

output "log_group" {
  description = "Log group of the service."
  value       = aws_cloudwatch_log_group.main.name
}
