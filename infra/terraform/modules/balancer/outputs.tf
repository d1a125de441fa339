output "host" {
  description = "DNS name of the load balancer."
  value       = aws_lb.main.dns_name
}

output "target_group_arn" {
  description = "Target group that the service's tasks register with."
  value       = aws_lb_target_group.serving.arn
  # ECS takes only a target group that belongs to a load balancer, and tasks are well only if it reaches them.
  depends_on = [aws_lb_listener.main, aws_vpc_security_group_ingress_rule.tasks]
}

output "balancer_label" {
  description = "The load balancer as CloudWatch's metrics name it."
  value       = aws_lb.main.arn_suffix
}

output "target_group_label" {
  description = "The target group as CloudWatch's metrics name it."
  value       = aws_lb_target_group.serving.arn_suffix
}
