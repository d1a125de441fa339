# A broken machine is moved to another one, a hung system is started again, and whoever left an address is told.

resource "aws_sns_topic" "alarms" {
  # checkov:skip=CKV_AWS_26:Alarms hold names and numbers, no data; CloudWatch cannot publish through the free key, and one of its own costs
  name = "${var.name}-alarms"
}

resource "aws_sns_topic_subscription" "email" {
  count     = var.alarm_email == null ? 0 : 1
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

resource "aws_cloudwatch_metric_alarm" "status" {
  for_each = {
    StatusCheckFailed_System   = "recover"
    StatusCheckFailed_Instance = "reboot"
  }

  alarm_name          = "${var.name}-${each.value}"
  alarm_description   = "${each.key} of ${var.name}: AWS does ${each.value} it"
  namespace           = "AWS/EC2"
  metric_name         = each.key
  dimensions          = { InstanceId = aws_instance.box.id }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = each.value == "recover" ? 2 : 5
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  # A stopped spot instance measures nothing and is not ill.
  treat_missing_data = "notBreaching"
  alarm_actions      = ["${local.arn}:automate:${var.region}:ec2:${each.value}", aws_sns_topic.alarms.arn]
  ok_actions         = [aws_sns_topic.alarms.arn]
}

resource "aws_budgets_budget" "month" {
  count        = var.alarm_email == null ? 0 : 1
  name         = "${var.name}-month"
  budget_type  = "COST"
  limit_amount = tostring(var.budget_usd)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  dynamic "notification" {
    for_each = { ACTUAL = 80, FORECASTED = 100 }

    content {
      notification_type          = notification.key
      threshold                  = notification.value
      threshold_type             = "PERCENTAGE"
      comparison_operator        = "GREATER_THAN"
      subscriber_email_addresses = [var.alarm_email]
    }
  }
}
