output "task_queue" {
  description = "Name of the queue with the state changes of tasks, which the worker reads."
  value       = aws_sqs_queue.tasks.name
  # Without its policy nobody puts anything into it.
  depends_on = [aws_sqs_queue_policy.send]
}

output "task_queue_arn" {
  description = "ARN of that queue."
  value       = aws_sqs_queue.tasks.arn
}

output "dead_letter_queue" {
  description = "Name of the queue with what could not be delivered, or failed."
  value       = aws_sqs_queue.dead.name
}
