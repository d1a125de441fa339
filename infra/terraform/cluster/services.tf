# Prefect, MLflow, the worker and the model service, and what each of them may do.

locals {
  parameters = module.configuration.parameters
  secrets    = module.configuration.secrets
  ports      = { prefect = 4200, mlflow = 5000 }

  # Security groups of those who ask Prefect and MLflow.
  clients = merge(
    { instances = module.ecs.instance_security_group, flow-runs = module.flow_runs.security_group },
    local.serving_on_fargate ? { serving = aws_security_group.serving[0].id } : {},
  )

  # Each server has its own user of the database; only the preparation knows the administrator, who makes it.
  databases = { for user, variables in { prefect = ["LAUREL_PREFECT_DATABASE"], mlflow = ["LAUREL_MLFLOW_STORE", "LAUREL_MLFLOW_AUTH_STORE"], laurel = ["LAUREL_DATABASE_ADMIN"] } :
    user => { for variable in variables : variable => "${module.database.secret_arns[user]}:${variable}::" }
  }

  # Flow runs make buttons where it is set, and the model service knows by it who presses them.
  slack_signing = var.slack_signing_secret_arn == null ? {} : { LAUREL_SLACK_SIGNING_SECRET = var.slack_signing_secret_arn }

  # What every service has in common.
  service = {
    cluster            = module.ecs.cluster_arn
    capacity_provider  = module.ecs.capacity_providers["services"]
    kms_key_arn        = module.key.arn
    repository_arn     = module.registry.arns["${var.name}-flows"]
    image              = local.servers_image
    log_retention_days = var.log_retention_days
  }
}

# Prefect and MLflow have addresses of their own, so that each lets in only who needs it.
resource "aws_security_group" "server" {
  # checkov:skip=CKV2_AWS_5:ECS attaches it to the network interfaces of the service's tasks
  for_each    = local.ports
  name        = "${var.name}-${each.key}"
  description = "Server ${each.key}"
  vpc_id      = module.network.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "server" {
  for_each = {
    for pair in setproduct(keys(local.ports), concat(["instances", "flow-runs"], local.serving_on_fargate ? ["serving"] : [])) :
    join(" ", pair) => { server = pair[0], client = pair[1] }
  }
  security_group_id            = aws_security_group.server[each.value.server].id
  description                  = "From ${each.value.client}"
  referenced_security_group_id = local.clients[each.value.client]
  ip_protocol                  = "tcp"
  from_port                    = local.ports[each.value.server]
  to_port                      = local.ports[each.value.server]
}

resource "aws_vpc_security_group_egress_rule" "database" {
  for_each          = local.ports
  security_group_id = aws_security_group.server[each.key].id
  description       = "PostgreSQL"
  cidr_ipv4         = module.network.cidr
  ip_protocol       = "tcp"
  from_port         = 5432
  to_port           = 5432
}

resource "aws_vpc_security_group_egress_rule" "https" {
  for_each          = local.ports
  security_group_id = aws_security_group.server[each.key].id
  description       = "S3 (MLflow), webhooks of automations (Prefect)"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

# What a server's tasks need as long as they run.
locals {
  server_rules = [for rule in concat(
    values(aws_vpc_security_group_egress_rule.database), values(aws_vpc_security_group_egress_rule.https), values(aws_vpc_security_group_ingress_rule.server),
  ) : rule.id]
}

module "prefect" {
  source             = "../modules/service"
  count              = local.running ? 1 : 0
  name               = var.name
  service            = "prefect"
  region             = var.region
  cluster_arn        = local.service.cluster
  capacity_provider  = local.service.capacity_provider
  image              = local.service.image
  repository_arn     = local.service.repository_arn
  kms_key_arn        = local.service.kms_key_arn
  log_retention_days = local.service.log_retention_days
  secrets_version    = var.secrets_version
  command            = ["python", "-m", "deployments.servers.prefect_server"]
  preparation        = ["python", "-m", "deployments.servers.databases"]
  # Read when the preparation starts; the server itself does not get it.
  preparation_secrets = local.databases["laurel"]
  stands_before       = concat(local.server_rules, module.database.client_rules)
  cpu                 = 512
  memory              = 1024
  port                = local.ports.prefect
  health_command      = ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:4200/api/health', timeout=5)"]
  start_seconds       = 180
  # It copies its pages to where it serves them from.
  environment = { LAUREL_HOST = "0.0.0.0", PREFECT_UI_STATIC_DIRECTORY = "/tmp/pages" }
  parameters  = {}
  secrets     = merge(local.databases["prefect"], { LAUREL_PREFECT_AUTH = local.secrets["prefect-auth"] })
  secret_arns = [module.database.secret_arns["laurel"], module.database.secret_arns["prefect"], local.secrets["prefect-auth"]]
  network     = { subnets = module.network.private_subnets, security_groups = [aws_security_group.server["prefect"].id], namespace_id = module.ecs.namespace_id }
}

data "aws_iam_policy_document" "mlflow" {
  statement {
    sid       = "Artifacts"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    resources = ["${module.lake.arn}/mlflow/*"]
  }

  statement {
    sid       = "ListArtifacts"
    actions   = ["s3:ListBucket"]
    resources = [module.lake.arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["mlflow/*"]
    }
  }

  statement {
    sid       = "Encrypt"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [module.key.arn]
  }
}

module "mlflow" {
  source             = "../modules/service"
  count              = local.running ? 1 : 0
  name               = var.name
  service            = "mlflow"
  region             = var.region
  cluster_arn        = local.service.cluster
  capacity_provider  = local.service.capacity_provider
  image              = local.service.image
  repository_arn     = local.service.repository_arn
  kms_key_arn        = local.service.kms_key_arn
  log_retention_days = local.service.log_retention_days
  secrets_version    = var.secrets_version
  command            = ["python", "-m", "deployments.servers.mlflow_server"]
  preparation        = ["python", "-m", "deployments.servers.databases"]
  # Read when the preparation starts; the server itself does not get it.
  preparation_secrets = local.databases["laurel"]
  stands_before       = concat(local.server_rules, module.database.client_rules)
  cpu                 = 256
  memory              = 1024
  port                = local.ports.mlflow
  health_command      = ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:5000/health', timeout=5)"]
  start_seconds       = 180
  # It keeps nothing in memory that two could disagree about. Prefect has one scheduler, and one set of triggers that are being watched.
  overlap       = true
  environment   = { LAUREL_HOST = "0.0.0.0", LAUREL_MLFLOW_ALLOWED_HOSTS = "mlflow.${module.ecs.domain}" }
  parameters    = { for variable in ["LAUREL_LAKE", "LAUREL_S3_ENDPOINT", "LAUREL_S3_REGION", "LAUREL_MLFLOW_USERNAME"] : variable => local.parameters[variable] }
  secrets       = merge(local.databases["mlflow"], { LAUREL_MLFLOW_PASSWORD = local.secrets["mlflow-password"] })
  secret_arns   = [module.database.secret_arns["laurel"], module.database.secret_arns["mlflow"], local.secrets["mlflow-password"]]
  network       = { subnets = module.network.private_subnets, security_groups = [aws_security_group.server["mlflow"].id], namespace_id = module.ecs.namespace_id }
  task_policies = [data.aws_iam_policy_document.mlflow.json]
}

module "flow_runs" {
  source             = "../modules/flow_runs"
  name               = var.name
  region             = var.region
  vpc_id             = module.network.vpc_id
  lake_arn           = module.lake.arn
  image              = local.flows_image
  pushed             = local.running
  repository_arn     = local.service.repository_arn
  training_arn       = module.registry.arns["${var.name}-train"]
  kms_key_arn        = module.key.arn
  log_retention_days = var.log_retention_days
  parameters         = local.parameters
  run_secret_arns    = [local.secrets["prefect-auth"]]

  secrets = merge(
    {
      LAUREL_PREFECT_AUTH    = local.secrets["prefect-auth"]
      LAUREL_MLFLOW_PASSWORD = local.secrets["mlflow-password"]
      LAUREL_SERVING_KEY     = local.secrets["serving-key"]
    },
    var.slack_token_secret_arn == null ? {} : { LAUREL_SLACK_TOKEN = var.slack_token_secret_arn },
    local.slack_signing,
  )
}
