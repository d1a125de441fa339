# Events, alarms, and who deploys.

module "events" {
  source            = "../modules/events"
  name              = var.name
  account_id        = local.account_id
  cluster_arn       = module.ecs.cluster_arn
  bucket            = module.lake.bucket
  command           = local.running ? { definition_arn = module.flow_runs.command_definition_arn, capacity_provider = module.ecs.capacity_providers["services"] } : null
  command_family    = module.flow_runs.command_family
  command_role_arns = module.flow_runs.command_role_arns
  subnets           = module.network.private_subnets
  security_group    = module.flow_runs.security_group
  kms_key_arn       = module.key.arn
}

module "monitoring" {
  source                 = "../modules/monitoring"
  name                   = var.name
  account_id             = local.account_id
  region                 = var.region
  kms_key_arn            = module.key.arn
  alarm_email            = var.alarm_email
  cluster_name           = module.ecs.cluster_name
  services               = local.running ? ["prefect", "mlflow", "worker"] : []
  serving_log_groups     = module.serving[*].log_group
  balancer_label         = module.balancer.balancer_label
  target_group_label     = module.balancer.target_group_label
  dead_letter_queue      = module.events.dead_letter_queue
  database               = module.database.instance
  autoscaling_groups     = values(module.ecs.autoscaling_groups)
  latency_seconds        = var.alarms.latency_seconds
  errors                 = var.alarms.errors
  no_prediction_minutes  = var.alarms.no_prediction_minutes
  monthly_budget_dollars = var.monthly_budget_dollars
}

module "github" {
  source                = "../modules/github"
  count                 = var.github == null ? 0 : 1
  name                  = var.name
  account_id            = local.account_id
  region                = var.region
  repository            = var.github.repository
  environment           = var.github.environment
  training_environment  = var.github.training_environment
  training_repository   = "${var.name}-train"
  command_role_arns     = module.flow_runs.command_role_arns
  provider_arn          = var.github.provider_arn
  terraform_policy_arns = var.github.terraform_policy_arns
  cluster_name          = module.ecs.cluster_name
  repository_arns       = module.registry.arns
  families              = [for service in ["prefect", "mlflow", "worker", "serving", "command"] : "${var.name}-${service}"]
  passed_role_arns      = concat(flatten([for service in concat(module.prefect, module.mlflow, module.worker, module.serving) : service.role_arns]), module.flow_runs.command_role_arns)
  command_family        = module.flow_runs.command_family
  command_log_group_arn = module.flow_runs.command_log_group_arn
}
