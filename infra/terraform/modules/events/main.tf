# Two roads of events: tasks that change their state, to the worker (without it nobody would notice a flow run whose instance is gone),
# and new objects under incoming/, to the deployment ingest. What cannot be delivered, or fails, is kept in one dead-letter queue.

locals {
  rules = { tasks = aws_cloudwatch_event_rule.tasks.arn, incoming = aws_cloudwatch_event_rule.incoming.arn, failed = aws_cloudwatch_event_rule.failed.arn }
}

resource "aws_sqs_queue" "dead" {
  name                      = "${var.name}-dead-letters"
  message_retention_seconds = 1209600
  kms_master_key_id         = var.kms_key_arn
}

resource "aws_sqs_queue" "tasks" {
  name                       = "${var.name}-ecs-tasks-events"
  message_retention_seconds  = 86400
  visibility_timeout_seconds = 300
  receive_wait_time_seconds  = 20
  kms_master_key_id          = var.kms_key_arn
  redrive_policy             = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dead.arn, maxReceiveCount = 3 })
}

data "aws_iam_policy_document" "send" {
  for_each = { tasks = [aws_sqs_queue.tasks.arn, ["tasks"]], dead = [aws_sqs_queue.dead.arn, ["tasks", "incoming", "failed"]] }

  statement {
    sid       = "Rules"
    actions   = ["sqs:SendMessage"]
    resources = [each.value[0]]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [for rule in each.value[1] : local.rules[rule]]
    }
  }
}

resource "aws_sqs_queue_policy" "send" {
  for_each  = { tasks = aws_sqs_queue.tasks.url, dead = aws_sqs_queue.dead.url }
  queue_url = each.value
  policy    = data.aws_iam_policy_document.send[each.key].json
}

resource "aws_cloudwatch_event_rule" "tasks" {
  name          = "${var.name}-tasks"
  description   = "Tasks that change their state, for the worker"
  event_pattern = jsonencode({ source = ["aws.ecs"], detail-type = ["ECS Task State Change"], detail = { clusterArn = [var.cluster_arn] } })
}

resource "aws_cloudwatch_event_target" "tasks" {
  rule = aws_cloudwatch_event_rule.tasks.name
  arn  = aws_sqs_queue.tasks.arn

  dead_letter_config {
    arn = aws_sqs_queue.dead.arn
  }

  depends_on = [aws_sqs_queue_policy.send]
}

resource "aws_cloudwatch_event_rule" "incoming" {
  name        = "${var.name}-incoming"
  description = "An object made under incoming/ starts ingest of its use case"

  event_pattern = jsonencode({
    source      = ["aws.s3"]
    detail-type = ["Object Created"]
    detail      = { bucket = { name = [var.bucket] }, object = { key = [{ prefix = "incoming/" }] } }
  })
}

# Prefect is private: a task inside the cluster reaches it, EventBridge's own HTTP targets do not.
resource "aws_cloudwatch_event_target" "incoming" {
  count    = var.command == null ? 0 : 1
  rule     = aws_cloudwatch_event_rule.incoming.name
  arn      = var.cluster_arn
  role_arn = aws_iam_role.run.arn

  ecs_target {
    task_definition_arn     = var.command.definition_arn
    task_count              = 1
    enable_ecs_managed_tags = true

    capacity_provider_strategy {
      capacity_provider = var.command.capacity_provider
      weight            = 1
    }

    network_configuration {
      subnets         = var.subnets
      security_groups = [var.security_group]
    }
  }

  # The sequencer names this write of the key: an event that is delivered twice starts one run.
  input_transformer {
    input_paths = { key = "$.detail.object.key", write = "$.detail.object.sequencer" }

    # Not by jsonencode, which would write the brackets of the placeholders as escapes.
    input_template = <<-EOT
      {"containerOverrides": [{"name": "command", "command": ["python", "-m", "deployments.runs.incoming", "<key>", "<write>"]}]}
    EOT
  }

  retry_policy {
    maximum_event_age_in_seconds = 3600
    maximum_retry_attempts       = 20
  }

  dead_letter_config {
    arn = aws_sqs_queue.dead.arn
  }

  depends_on = [aws_iam_role_policy.run, aws_sqs_queue_policy.send]
}

# A command that starts and then fails (Prefect was away for too long, no such use case): to the same queue, and so to the alarm.
resource "aws_cloudwatch_event_rule" "failed" {
  name        = "${var.name}-failed-commands"
  description = "Commands that ended with an error"

  event_pattern = jsonencode({
    source      = ["aws.ecs"]
    detail-type = ["ECS Task State Change"]

    detail = {
      clusterArn = [var.cluster_arn]
      lastStatus = ["STOPPED"]
      group      = ["family:${var.command_family}"]
      # No exit code: it never started.
      "$or" = [{ containers = { exitCode = [{ anything-but = 0 }] } }, { stopCode = ["TaskFailedToStart"] }]
    }
  })
}

resource "aws_cloudwatch_event_target" "failed" {
  rule       = aws_cloudwatch_event_rule.failed.name
  arn        = aws_sqs_queue.dead.arn
  depends_on = [aws_sqs_queue_policy.send]
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}

data "aws_iam_policy_document" "run" {
  statement {
    sid       = "Run"
    actions   = ["ecs:RunTask"]
    resources = ["arn:aws:ecs:*:${var.account_id}:task-definition/${var.command_family}:*", "arn:aws:ecs:*:${var.account_id}:task-definition/${var.command_family}"]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [var.cluster_arn]
    }
  }

  statement {
    sid       = "PassRoles"
    actions   = ["iam:PassRole"]
    resources = var.command_role_arns

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }

  statement {
    sid       = "Tag"
    actions   = ["ecs:TagResource"]
    resources = ["arn:aws:ecs:*:${var.account_id}:task/${var.name}/*"]

    condition {
      test     = "StringEquals"
      variable = "ecs:CreateAction"
      values   = ["RunTask"]
    }
  }
}

resource "aws_iam_role" "run" {
  name               = "${var.name}-incoming"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_role_policy" "run" {
  name   = "run-command"
  role   = aws_iam_role.run.id
  policy = data.aws_iam_policy_document.run.json
}
