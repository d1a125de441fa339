# The worker, which starts flow runs, and the model service.

locals {
  # Where the worker answers its own health check as long as it polls.
  worker_port = 8080
}

data "aws_iam_policy_document" "worker" {
  # checkov:skip=CKV_AWS_356:ecs:DescribeTaskDefinition and ecs:DeregisterTaskDefinition take no other resource; what can start something names its own
  # checkov:skip=CKV_AWS_111:ecs:DeregisterTaskDefinition takes no other resource; it ends nothing that runs
  statement {
    sid       = "TaskDefinitions"
    actions   = ["ecs:DescribeTaskDefinition", "ecs:DeregisterTaskDefinition"]
    resources = ["*"]
  }

  # Prefect names the families after pool and flow: prefect_<pool>_<deployment>.
  statement {
    sid       = "Start"
    actions   = ["ecs:RegisterTaskDefinition"]
    resources = ["arn:aws:ecs:${var.region}:${local.account_id}:task-definition/prefect*"]
  }

  statement {
    sid       = "Run"
    actions   = ["ecs:RunTask"]
    resources = ["arn:aws:ecs:${var.region}:${local.account_id}:task-definition/prefect*"]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [module.ecs.cluster_arn]
    }
  }

  statement {
    sid       = "Watch"
    actions   = ["ecs:DescribeTasks", "ecs:StopTask"]
    resources = ["arn:aws:ecs:${var.region}:${local.account_id}:task/${var.name}/*"]
  }

  statement {
    sid       = "Tag"
    actions   = ["ecs:TagResource"]
    resources = ["arn:aws:ecs:${var.region}:${local.account_id}:task/${var.name}/*", "arn:aws:ecs:${var.region}:${local.account_id}:task-definition/prefect*"]

    condition {
      test     = "StringEquals"
      variable = "ecs:CreateAction"
      values   = ["RunTask", "RegisterTaskDefinition"]
    }
  }

  statement {
    sid       = "PassRoles"
    actions   = ["iam:PassRole"]
    resources = [module.flow_runs.task_role_arn, module.flow_runs.execution_role_arn]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }

  statement {
    sid       = "HearOfTasks"
    actions   = ["sqs:GetQueueUrl", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"]
    resources = [module.events.task_queue_arn]
  }

  statement {
    sid       = "Decrypt"
    actions   = ["kms:Decrypt"]
    resources = [module.key.arn]
  }

  # The last lines of a container that ended before it reached Prefect go into the run's log.
  statement {
    sid       = "ReadLogOfFlowRuns"
    actions   = ["logs:GetLogEvents"]
    resources = ["${module.flow_runs.log_group_arn}:*"]
  }
}

module "worker" {
  source             = "../modules/service"
  count              = local.running ? 1 : 0
  name               = var.name
  service            = "worker"
  region             = var.region
  cluster_arn        = local.service.cluster
  capacity_provider  = local.service.capacity_provider
  image              = local.service.image
  repository_arn     = local.service.repository_arn
  kms_key_arn        = local.service.kms_key_arn
  log_retention_days = local.service.log_retention_days
  secrets_version    = var.secrets_version
  command            = ["python", "-m", "deployments.servers.worker", "--type", "ecs", "--with-healthcheck"]
  health_command     = ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:${local.worker_port}/health', timeout=5)"]
  start_seconds      = 120
  cpu                = 256
  memory             = 768
  parameters         = { for variable in ["LAUREL_PREFECT_URL", "LAUREL_S3_REGION"] : variable => local.parameters[variable] }
  secrets            = { LAUREL_PREFECT_AUTH = local.secrets["prefect-auth"] }
  secret_arns        = [local.secrets["prefect-auth"]]
  task_policies      = [data.aws_iam_policy_document.worker.json]

  environment = {
    AWS_DEFAULT_REGION                                   = var.region
    PREFECT_WORKER_WEBSERVER_HOST                        = "127.0.0.1"
    PREFECT_WORKER_WEBSERVER_PORT                        = tostring(local.worker_port)
    PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_NAME = module.events.task_queue
  }
}
