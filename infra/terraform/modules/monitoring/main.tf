# Alarms to one topic. Each says what is wrong and where to look first.

locals {
  balancer = { LoadBalancer = var.balancer_label }
  target   = { LoadBalancer = var.balancer_label, TargetGroup = var.target_group_label }
  # Averages of nothing are no alarm; the absence of what must be there is one.
  alarms = merge(
    {
      latency = {
        description = "The slowest 1 % of answers take more than ${var.latency_seconds} s. See the dashboard: CPU of serving, number of tasks."
        namespace   = "AWS/ApplicationELB", metric = "TargetResponseTime", statistic = "p99", dimensions = local.target
        comparison  = "GreaterThanThreshold", threshold = var.latency_seconds, minutes = 1, periods = 5, missing = "notBreaching"
      }
      "dead-letters" = {
        description = "An event could not be delivered, or the command that it started failed. Read the queue ${var.dead_letter_queue}, and the log group /${var.name}/command."
        namespace   = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", statistic = "Maximum", dimensions = { QueueName = var.dead_letter_queue }
        comparison  = "GreaterThanThreshold", threshold = 0, minutes = 1, periods = 1, missing = "notBreaching"
      }
      "database-disk" = {
        description = "Less than 2 GB are left on the database's disk, although it grows by itself."
        namespace   = "AWS/RDS", metric = "FreeStorageSpace", statistic = "Minimum", dimensions = { DBInstanceIdentifier = var.database }
        comparison  = "LessThanThreshold", threshold = 2000000000, minutes = 5, periods = 1, missing = "missing"
      }
    },
    length(var.services) == 0 ? {} : {
      "no-healthy-target" = {
        description = "No task of the model service is healthy: callers get errors. See the service's events and the log group /${var.name}/serving."
        namespace   = "AWS/ApplicationELB", metric = "HealthyHostCount", statistic = "Maximum", dimensions = local.target
        comparison  = "LessThanThreshold", threshold = 1, minutes = 1, periods = 2, missing = "breaching"
      }
    },
    # ECS reports the use of CPU once a minute and task: as many samples as tasks.
    { for service in var.services : "no-${service}" => {
      description = "No task of ${service} runs. See the service's events and the log group /${var.name}/${service}."
      namespace   = "AWS/ECS", metric = "CPUUtilization", statistic = "SampleCount", dimensions = { ClusterName = var.cluster_name, ServiceName = service }
      comparison  = "LessThanThreshold", threshold = 1, minutes = 1, periods = 5, missing = "breaching"
    } },
    var.no_prediction_minutes == 0 || length(var.serving_log_groups) == 0 ? {} : {
      "no-prediction" = {
        description = "Not one prediction in ${var.no_prediction_minutes} minutes. Either nobody asks, or callers do not get through."
        namespace   = var.name, metric = "Predictions", statistic = "Sum", dimensions = {}
        comparison  = "LessThanThreshold", threshold = 1, minutes = 5, periods = ceil(var.no_prediction_minutes / 5), missing = "breaching"
      }
    },
  )
}

resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = var.kms_key_arn
}

data "aws_iam_policy_document" "publish" {
  statement {
    sid       = "AlarmsAndBudget"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms.arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.publish.json
}

resource "aws_sns_topic_subscription" "email" {
  count     = var.alarm_email == null ? 0 : 1
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

resource "aws_cloudwatch_log_metric_filter" "predictions" {
  count          = length(var.serving_log_groups)
  name           = "predictions"
  log_group_name = var.serving_log_groups[count.index]
  # The service's access log: lines with the number of rows that were scored.
  pattern = "{ $.rows > 0 && $.status = 200 }"

  metric_transformation {
    namespace = var.name
    name      = "Predictions"
    value     = "$.rows"
    unit      = "Count"
  }
}

resource "aws_cloudwatch_metric_alarm" "main" {
  for_each            = local.alarms
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = startswith(each.value.statistic, "p") ? null : each.value.statistic
  extended_statistic  = startswith(each.value.statistic, "p") ? each.value.statistic : null
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = each.value.minutes * 60
  evaluation_periods  = each.value.periods
  treat_missing_data  = each.value.missing
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

# Errors of the service and of the load balancer itself, which answers 502 and 503 where no task does.
resource "aws_cloudwatch_metric_alarm" "errors" {
  alarm_name          = "${var.name}-5xx"
  alarm_description   = "${var.errors} or more answers 5xx within five minutes. See the log group /${var.name}/serving."
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = var.errors
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]

  metric_query {
    id          = "errors"
    expression  = "FILL(service, 0) + FILL(balancer, 0)"
    label       = "Answers 5xx"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = { service = "HTTPCode_Target_5XX_Count", balancer = "HTTPCode_ELB_5XX_Count" }

    content {
      id = metric_query.key

      metric {
        namespace   = "AWS/ApplicationELB"
        metric_name = metric_query.value
        dimensions  = local.balancer
        period      = 300
        stat        = "Sum"
      }
    }
  }
}

resource "aws_budgets_budget" "monthly" {
  name         = "${var.name}-monthly"
  budget_type  = "COST"
  limit_amount = tostring(var.monthly_budget_dollars)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  dynamic "notification" {
    for_each = { 80 = "ACTUAL", 100 = "ACTUAL", 101 = "FORECASTED" }

    content {
      comparison_operator       = "GREATER_THAN"
      threshold                 = min(tonumber(notification.key), 100)
      threshold_type            = "PERCENTAGE"
      notification_type         = notification.value
      subscriber_sns_topic_arns = [aws_sns_topic.alarms.arn]
    }
  }

  depends_on = [aws_sns_topic_policy.alarms]
}
