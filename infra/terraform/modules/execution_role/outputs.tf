output "arn" {
  description = "ARN of the role."
  value       = aws_iam_role.main.arn
  # A task that starts before the policy is there can pull nothing.
  depends_on = [aws_iam_role_policy.main]
}
