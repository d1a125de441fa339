# What the tasks of the work pool need: roles, log, security group. And a task definition for commands that must run inside the
# cluster, where Prefect is reached: `python -m deployments.apply`, a run that GitHub starts, ingest after a new object.

resource "aws_security_group" "main" {
  # checkov:skip=CKV2_AWS_5:ECS attaches it to the network interfaces of flow runs, which the worker starts
  name        = "${var.name}-flow-runs"
  description = "Flow runs: nothing in, everything out"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_egress_rule" "out" {
  security_group_id = aws_security_group.main.id
  description       = "Sources of use cases, Slack, AWS, and the services of the stack"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}

resource "aws_cloudwatch_log_group" "main" {
  # checkov:skip=CKV_AWS_338:How long logs are kept is the variable log_retention_days; a year is not everybody's need
  for_each          = toset(["flow-runs", "command"])
  name              = "/${var.name}/${each.value}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

module "execution_role" {
  source          = "../execution_role"
  name            = "${var.name}-flow-run-start"
  repository_arns = [var.repository_arn, var.training_arn]
  log_group_arn   = aws_cloudwatch_log_group.main["flow-runs"].arn
  secret_arns     = var.run_secret_arns
  parameter_arns  = []
  kms_key_arn     = var.kms_key_arn
}

module "command_execution_role" {
  source          = "../execution_role"
  name            = "${var.name}-command-start"
  repository_arns = [var.repository_arn]
  log_group_arn   = aws_cloudwatch_log_group.main["command"].arn
  secret_arns     = values(var.secrets)
  parameter_arns  = values(var.parameters)
  kms_key_arn     = var.kms_key_arn
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "task" {
  # Prediction log, feedback and reverted rollouts are the service's to write, incoming/ is the sender's: flows read them.
  statement {
    sid       = "Read"
    actions   = ["s3:GetObject"]
    resources = [for prefix in ["incoming", "predictions", "feedback", "rollouts"] : "${var.lake_arn}/${prefix}/*"]
  }

  statement {
    sid       = "ReadAndWrite"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = [for prefix in ["compacted", "datasets", "reports", "results", "slack", "tidy"] : "${var.lake_arn}/${prefix}/*"]
  }

  # The flow tidy deletes what it has compacted, and days that are older than they are kept. Nothing is written there.
  statement {
    sid       = "DeleteFromLog"
    actions   = ["s3:DeleteObject"]
    resources = [for prefix in ["predictions", "feedback"] : "${var.lake_arn}/${prefix}/*"]
  }

  statement {
    sid       = "ReadLedger"
    actions   = ["s3:GetObject"]
    resources = ["${var.lake_arn}/decisions/*"]
  }

  # The ledger of decisions grows and nothing else: an entry can be written where there is none, and neither replaced nor deleted.
  statement {
    sid       = "AddToLedger"
    actions   = ["s3:PutObject"]
    resources = ["${var.lake_arn}/decisions/*"]

    condition {
      test     = "Null"
      variable = "s3:if-none-match"
      values   = ["false"]
    }
  }

  statement {
    sid       = "List"
    actions   = ["s3:ListBucket", "s3:GetBucketLocation"]
    resources = [var.lake_arn]
  }

  statement {
    sid       = "Encrypt"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.kms_key_arn]
  }
}

resource "aws_iam_role" "task" {
  name               = "${var.name}-flow-run"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_role_policy" "task" {
  name   = "lake"
  role   = aws_iam_role.task.id
  policy = data.aws_iam_policy_document.task.json
}

# Of a command: it talks to Prefect, and may do nothing in AWS.
resource "aws_iam_role" "command" {
  name               = "${var.name}-command"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_ecs_task_definition" "command" {
  # checkov:skip=CKV_AWS_336:A command is ended with its task; /var/lib/laurel and /tmp are written, the rest belongs to root and the user is not root
  count                    = var.pushed ? 1 : 0
  family                   = "${var.name}-command"
  requires_compatibilities = ["EC2"]
  network_mode             = "awsvpc"
  task_role_arn            = aws_iam_role.command.arn
  execution_role_arn       = module.command_execution_role.arn
  # A deployment that is rolled back runs the previous one's commands again.
  skip_destroy = true

  container_definitions = jsonencode([{
    name              = "command"
    image             = var.image
    essential         = true
    cpu               = 256
    memory            = 1024
    memoryReservation = 512
    secrets           = [for name, arn in merge(var.parameters, var.secrets) : { name = name, valueFrom = arn }]
    linuxParameters   = { initProcessEnabled = true, capabilities = { add = [], drop = ["ALL"] } }

    logConfiguration = {
      logDriver = "awslogs"

      options = {
        awslogs-group         = aws_cloudwatch_log_group.main["command"].name
        awslogs-region        = var.region
        awslogs-stream-prefix = "command"
      }
    }
  }])
}
