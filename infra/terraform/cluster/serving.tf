# The model service behind the load balancer. It gets champions from MLflow over HTTP, and so needs no right to read them in S3.

locals {
  # Where the image listens (its environment says so too).
  serving_port       = 8080
  serving_on_fargate = var.fargate.serving != null

  # Prefect's is what approvals and rollbacks are passed on with.
  serving_secrets = merge(
    {
      LAUREL_SERVING_KEY     = local.secrets["serving-key"]
      LAUREL_MLFLOW_PASSWORD = local.secrets["mlflow-password"]
      LAUREL_PREFECT_AUTH    = local.secrets["prefect-auth"]
    },
    local.slack_signing,
  )
}

data "aws_iam_policy_document" "serving" {
  statement {
    sid       = "Log"
    actions   = ["s3:PutObject"]
    resources = [for folder in ["predictions", "feedback", "traffic", "rollouts"] : "${module.lake.arn}/${folder}/*"]
  }

  # What its page shows, and which rollout another replica has ended.
  statement {
    sid       = "Read"
    actions   = ["s3:GetObject"]
    resources = [for folder in ["reports", "decisions", "traffic", "rollouts"] : "${module.lake.arn}/${folder}/*"]
  }

  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = [module.lake.arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["reports/*", "decisions/*", "traffic/*", "rollouts/*"]
    }
  }

  statement {
    sid       = "Encrypt"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [module.key.arn]
  }
}

# On Fargate each task has an address of its own; on instances tasks share the instance's, and its group.
resource "aws_security_group" "serving" {
  # checkov:skip=CKV2_AWS_5:ECS attaches it to the network interfaces of the service's tasks
  count       = local.serving_on_fargate ? 1 : 0
  name        = "${var.name}-serving"
  description = "Model service on Fargate: the load balancer in, everything out"
  vpc_id      = module.network.vpc_id
}

resource "aws_vpc_security_group_egress_rule" "serving" {
  count             = local.serving_on_fargate ? 1 : 0
  security_group_id = aws_security_group.serving[0].id
  description       = "AWS services, and the services of the stack"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}

module "serving" {
  source             = "../modules/service"
  count              = local.running ? 1 : 0
  name               = var.name
  service            = "serving"
  region             = var.region
  cluster_arn        = local.service.cluster
  capacity_provider  = coalesce(var.fargate.serving, local.service.capacity_provider)
  network            = local.serving_on_fargate ? { subnets = module.network.private_subnets, security_groups = [aws_security_group.serving[0].id], namespace_id = module.ecs.namespace_id, dns = false } : null
  stands_before      = aws_vpc_security_group_egress_rule.serving[*].id
  image              = local.serving_image
  repository_arn     = module.registry.arns["${var.name}-serving"]
  kms_key_arn        = local.service.kms_key_arn
  log_retention_days = local.service.log_retention_days
  secrets_version    = var.secrets_version
  cpu                = var.serving.cpu
  memory             = var.serving.memory
  port               = local.serving_port
  health_command     = ["python", "-m", "serving.health", tostring(local.serving_port)]
  target_group_arn   = module.balancer.target_group_arn
  tasks              = var.serving.minimum
  overlap            = true
  stop_seconds       = 60
  secrets            = local.serving_secrets
  secret_arns        = values(local.serving_secrets)
  task_policies      = [data.aws_iam_policy_document.serving.json]

  # Each upload of the prediction log is an object: once a minute keeps the lake quick to read. What a task holds is uploaded when it ends.
  environment = { LAUREL_LOG_FLUSH_SECONDS = "60", LAUREL_SERVING_PORT = tostring(local.serving_port) }

  parameters = {
    for variable in [
      "LAUREL_LAKE", "LAUREL_MLFLOW_URL", "LAUREL_MLFLOW_USERNAME", "LAUREL_PREFECT_URL", "LAUREL_S3_ENDPOINT", "LAUREL_S3_REGION", "LAUREL_SERVING_USE_CASES",
      "LAUREL_SLACK_LANGUAGE",
    ] : variable => local.parameters[variable]
  }
}

resource "aws_appautoscaling_target" "serving" {
  count              = local.running ? 1 : 0
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${module.ecs.cluster_name}/${module.serving[0].service}"
  min_capacity       = var.serving.minimum
  max_capacity       = var.serving.maximum
}

resource "aws_appautoscaling_policy" "serving" {
  for_each = local.running ? {
    requests = { metric = "ALBRequestCountPerTarget", target = var.serving.requests_per_task_a_minute, label = "${module.balancer.balancer_label}/${module.balancer.target_group_label}" }
    cpu      = { metric = "ECSServiceAverageCPUUtilization", target = var.serving.cpu_percent, label = null }
  } : {}

  name               = "${var.name}-serving-${each.key}"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.serving[0].service_namespace
  scalable_dimension = aws_appautoscaling_target.serving[0].scalable_dimension
  resource_id        = aws_appautoscaling_target.serving[0].resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = each.value.target
    scale_out_cooldown = 60
    scale_in_cooldown  = 300

    predefined_metric_specification {
      predefined_metric_type = each.value.metric
      resource_label         = each.value.label
    }
  }
}
