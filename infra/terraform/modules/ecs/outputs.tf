output "cluster_arn" {
  description = "ARN of the cluster."
  value       = aws_ecs_cluster.main.arn
}

output "cluster_name" {
  description = "Name of the cluster."
  value       = aws_ecs_cluster.main.name
}

output "capacity_providers" {
  description = "Name of each capacity provider by its key."
  value       = { for key, provider in aws_ecs_capacity_provider.main : key => provider.name }
  # Tasks can name a capacity provider only when the cluster has it.
  depends_on = [aws_ecs_cluster_capacity_providers.main]
}

output "autoscaling_groups" {
  description = "Name of each autoscaling group by its key."
  value       = { for key, group in aws_autoscaling_group.main : key => group.name }
}

output "instance_security_group" {
  description = "Security group of the instances, and so of tasks in network mode bridge."
  value       = aws_security_group.instances.id
}

output "namespace_id" {
  description = "Private DNS namespace in which services register their addresses."
  value       = aws_service_discovery_private_dns_namespace.main.id
}

output "domain" {
  description = "Domain of that namespace."
  value       = aws_service_discovery_private_dns_namespace.main.name
}
