output "repositories" {
  description = "Addresses of the image repositories, by name."
  value       = module.registry.urls
}

output "lake" {
  description = "The lake, as LAUREL_LAKE wants it."
  value       = module.lake.url
}

output "serving_url" {
  description = "The model service."
  value       = local.serving_url
}

output "balancer_host" {
  description = "Host name of the load balancer: what the DNS record of domain_name points to."
  value       = module.balancer.host
}

output "prefect_url" {
  description = "Prefect's API, inside the VPC."
  value       = local.prefect_url
}

output "mlflow_url" {
  description = "MLflow, inside the VPC."
  value       = local.mlflow_url
}

output "cluster" {
  description = "Name of the ECS cluster."
  value       = module.ecs.cluster_name
}

output "secrets" {
  description = "Secrets Manager's names of the passwords and keys: aws secretsmanager get-secret-value --secret-id ..."
  value       = module.configuration.secrets
}

output "run_command" {
  description = "Arguments of aws ecs run-task for a command inside the cluster, as JSON for --cli-input-json; add the command under overrides."
  value = jsonencode({
    cluster                  = module.ecs.cluster_name
    taskDefinition           = module.flow_runs.command_family
    capacityProviderStrategy = [{ capacityProvider = module.ecs.capacity_providers["services"], weight = 1 }]
    networkConfiguration     = { awsvpcConfiguration = { subnets = module.network.private_subnets, securityGroups = [module.flow_runs.security_group] } }
  })
}

output "dead_letter_queue" {
  description = "Queue of events that could not be delivered, or whose command failed."
  value       = module.events.dead_letter_queue
}

output "alarm_topic" {
  description = "SNS topic of alarms and budget."
  value       = module.monitoring.topic_arn
}

output "dashboard" {
  description = "CloudWatch dashboard."
  value       = module.monitoring.dashboard
}

output "github_roles" {
  description = "Roles that GitHub's jobs take, by what they do: deploy, train, and plan and apply where their policies were named."
  value       = merge({}, [for github in module.github : merge({ deploy = github.deploy_role_arn, train = github.train_role_arn }, github.terraform_role_arns)]...)
}
