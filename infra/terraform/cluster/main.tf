# Laurel on ECS: what is stored and how it is reached. The services are in services.tf, their watch in operations.tf.

data "aws_caller_identity" "current" {}

data "aws_availability_zones" "available" {
  # checkov:skip=CKV_AWS_394:The first two by name are taken; a new zone gets a later letter, and local zones are filtered out
  state = "available"

  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

locals {
  account_id  = data.aws_caller_identity.current.account_id
  running     = var.image_tag != ""
  flows_image = "${module.registry.urls["${var.name}-flows"]}:${var.image_tag}"

  # A changed use case makes another image of flows, and is no reason to restart Prefect, MLflow, the worker or the model service.
  servers_image = "${module.registry.urls["${var.name}-flows"]}:${coalesce(var.servers_image_tag, var.image_tag, "none")}"
  serving_image = "${module.registry.urls["${var.name}-serving"]}:${coalesce(var.serving_image_tag, var.image_tag, "none")}"

  prefect_url = "http://prefect.${module.ecs.domain}:4200/api"
  mlflow_url  = "http://mlflow.${module.ecs.domain}:5000"
  serving_url = var.certificate_arn == null ? "http://${module.balancer.host}" : "https://${var.domain_name}"
}

module "key" {
  source     = "../modules/key"
  name       = var.name
  account_id = local.account_id
  region     = var.region
}

module "network" {
  source             = "../modules/network"
  name               = var.name
  region             = var.region
  cidr               = var.cidr
  zones              = slice(data.aws_availability_zones.available.names, 0, 2)
  nat_gateways       = var.nat_gateways
  kms_key_arn        = module.key.arn
  log_retention_days = var.log_retention_days
}

module "lake" {
  source        = "../modules/lake"
  bucket        = "${var.name}-lake-${local.account_id}"
  kms_key_arn   = module.key.arn
  eventbridge   = true
  force_destroy = !var.protect
}

module "registry" {
  source        = "../modules/registry"
  repositories  = toset(["${var.name}-flows", "${var.name}-serving", "${var.name}-train"])
  kms_key_arn   = module.key.arn
  keep_images   = 20
  force_destroy = !var.protect
}

module "database" {
  source               = "../modules/database"
  name                 = var.name
  vpc_id               = module.network.vpc_id
  subnets              = module.network.database_subnets
  clients              = { for service, group in aws_security_group.server : service => group.id }
  kms_key_arn          = module.key.arn
  instance_class       = var.database.instance_class
  storage_gigabytes    = var.database.storage_gigabytes
  multi_az             = var.database.multi_az
  backup_days          = var.database.backup_days
  protect              = var.protect
  secrets_version      = var.secrets_version
  secret_recovery_days = var.protect ? 7 : 0
  log_retention_days   = var.log_retention_days
}

module "ecs" {
  source             = "../modules/ecs"
  name               = var.name
  vpc_id             = module.network.vpc_id
  subnets            = module.network.private_subnets
  default_capacity   = "services"
  container_insights = var.container_insights
  fargate            = distinct(compact([var.fargate.flows, var.fargate.serving]))

  capacity = merge(
    { services = merge(var.service_instances, { instance_types = var.service_instance_types, disk_gigabytes = 30 }) },
    var.fargate.flows != null ? {} : { flows = merge(var.flow_instances, { minimum = 0, instance_types = var.flow_instance_types, disk_gigabytes = 50 }) },
  )
}

module "balancer" {
  source          = "../modules/balancer"
  name            = var.name
  vpc_id          = module.network.vpc_id
  public          = var.public
  subnets         = var.public ? module.network.public_subnets : module.network.private_subnets
  clients         = var.public ? {} : { flow-runs = module.flow_runs.security_group, instances = module.ecs.instance_security_group }
  certificate_arn = var.certificate_arn
  protect         = var.protect

  tasks = {
    port           = local.serving_port
    own_address    = local.serving_on_fargate
    security_group = local.serving_on_fargate ? aws_security_group.serving[0].id : module.ecs.instance_security_group
  }

  # A public address is reached by way of NAT, from flow runs too: promote waits until the service serves the new champion.
  allowed_cidrs = merge(
    { for block in var.allowed_cidrs : block => block },
    { for index in range(var.public ? var.nat_gateways : 0) : "NAT gateway ${index + 1}" => "${module.network.nat_addresses[index]}/32" },
  )
}

module "configuration" {
  source          = "../modules/configuration"
  name            = var.name
  kms_key_arn     = module.key.arn
  secrets_version = var.secrets_version
  recovery_days   = var.protect ? 7 : 0
  secrets         = { prefect-auth = "laurel:", mlflow-password = "", serving-key = "" }

  parameters = merge(
    {
      LAUREL_PREFECT_URL     = local.prefect_url
      LAUREL_MLFLOW_URL      = local.mlflow_url
      LAUREL_MLFLOW_USERNAME = "laurel"
      LAUREL_SERVING_URL     = local.serving_url
      # Links in messages: where a tunnel through Session Manager ends on one's own machine (README.md).
      LAUREL_PREFECT_PAGE_URL       = "http://127.0.0.1:4200"
      LAUREL_MLFLOW_PAGE_URL        = "http://127.0.0.1:5000"
      LAUREL_SERVING_USE_CASES      = join(",", var.use_cases)
      LAUREL_LAKE                   = module.lake.url
      LAUREL_S3_ENDPOINT            = "aws"
      LAUREL_S3_REGION              = var.region
      LAUREL_SLACK_CHANNEL          = var.slack_channel
      LAUREL_SLACK_LANGUAGE         = var.slack_language
      LAUREL_ECS_CLUSTER            = module.ecs.cluster_name
      LAUREL_ECS_CAPACITY_PROVIDER  = coalesce(var.fargate.flows, try(module.ecs.capacity_providers["flows"], null))
      LAUREL_ECS_TASK_ROLE_ARN      = module.flow_runs.task_role_arn
      LAUREL_ECS_EXECUTION_ROLE_ARN = module.flow_runs.execution_role_arn
      LAUREL_ECS_LOG_GROUP          = module.flow_runs.log_group
      LAUREL_ECS_SUBNETS            = join(",", module.network.private_subnets)
      LAUREL_ECS_SECURITY_GROUPS    = module.flow_runs.security_group
      LAUREL_ECS_SECRETS            = "PREFECT_API_AUTH_STRING=${module.configuration.secrets["prefect-auth"]}"
    },
    local.running ? { LAUREL_ECS_IMAGE = local.flows_image } : {},
    local.searching ? { LAUREL_DASK_ADDRESS = local.dask_address } : {},
    { for kind, days in var.keep_days : "LAUREL_KEEP_${upper(kind)}_DAYS" => tostring(days) },
  )
}
