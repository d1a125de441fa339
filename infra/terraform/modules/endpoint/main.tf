# A SageMaker endpoint of the image laurel-serving: the same service and the same model package as anywhere else, behind IAM.

locals {
  # A model cannot be changed, only replaced: its name tells what is in it.
  models = { for variant, one in var.variants : variant => {
    url  = one.model_data_url
    name = "${var.name}-${variant}-${substr(sha256(jsonencode([var.image, one.model_data_url, local.environment])), 0, 8)}"
  } }

  environment = merge(var.environment, var.lake == null ? {} : { LAUREL_LAKE = "s3://${var.lake}", LAUREL_S3_ENDPOINT = "aws" })
}

resource "aws_sagemaker_model" "variant" {
  # checkov:skip=CKV_AWS_370:Isolated, unless a lake is named: the prediction log has to get there
  for_each           = local.models
  name               = each.value.name
  execution_role_arn = aws_iam_role.endpoint.arn
  # The model comes as a file, so that the container needs nobody, unless it writes a log.
  enable_network_isolation = var.lake == null

  primary_container {
    image          = var.image
    model_data_url = each.value.url
    environment    = local.environment
  }

  lifecycle {
    create_before_destroy = true
  }

  depends_on = [aws_iam_role_policy.endpoint]
}

resource "aws_sagemaker_endpoint_configuration" "endpoint" {
  # checkov:skip=CKV_AWS_98:The account's own key encrypts the disks and costs nothing; kms_key_arn names another
  name_prefix = "${var.name}-"
  kms_key_arn = var.kms_key_arn

  dynamic "production_variants" {
    for_each = var.variants

    content {
      variant_name           = production_variants.key
      model_name             = aws_sagemaker_model.variant[production_variants.key].name
      instance_type          = var.instance_type
      initial_instance_count = var.instances.min
      initial_variant_weight = production_variants.value.weight
    }
  }

  dynamic "data_capture_config" {
    for_each = var.capture == null ? [] : [var.capture]

    content {
      enable_capture              = true
      destination_s3_uri          = data_capture_config.value.url
      initial_sampling_percentage = data_capture_config.value.percent
      kms_key_id                  = var.kms_key_arn

      capture_options {
        capture_mode = "Input"
      }

      capture_options {
        capture_mode = "Output"
      }
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

# Through CloudFormation, since the provider's own resource cannot keep the number of instances through an update: it would go back to the
# minimum, although autoscaling has just added instances for the load. Weights are those of the configuration.
resource "aws_cloudformation_stack" "endpoint" {
  # checkov:skip=CKV_AWS_124:Terraform waits for it and reports its errors
  name = "${var.name}-endpoint"

  template_body = jsonencode({
    Description = "The SageMaker endpoint ${var.name}, made by Terraform"

    Resources = {
      Endpoint = {
        Type = "AWS::SageMaker::Endpoint"

        Properties = {
          EndpointName                     = var.name
          EndpointConfigName               = aws_sagemaker_endpoint_configuration.endpoint.name
          RetainAllVariantProperties       = true
          ExcludeRetainedVariantProperties = [{ VariantPropertyType = "DesiredWeight" }]
          DeploymentConfig                 = local.deployment
        }
      }
    }

    # Ref gives the ARN.
    Outputs = { Arn = { Value = { Ref = "Endpoint" } } }
  })

  # By default Terraform gives up after 30 minutes. An update needs ten for its instances, and waits for twenty more (below).
  timeouts {
    create = "60m"
    update = "90m"
  }
}

locals {
  # New instances get a tenth of the requests, then all of them; an alarm within ten minutes after that gives the requests back to the old
  # ones. A canary is at most half of a variant: if one instance is enough, the new one takes over at once.
  deployment = {
    BlueGreenUpdatePolicy = {
      TerminationWaitInSeconds = 600

      TrafficRoutingConfiguration = merge(
        { Type = var.instances.min > 1 ? "CANARY" : "ALL_AT_ONCE", WaitIntervalInSeconds = 300 },
        var.instances.min > 1 ? { CanarySize = { Type = "CAPACITY_PERCENT", Value = 10 } } : {},
      )
    }

    AutoRollbackConfiguration = {
      Alarms = [for alarm in concat(values(aws_cloudwatch_metric_alarm.errors), values(aws_cloudwatch_metric_alarm.latency)) : { AlarmName = alarm.alarm_name }]
    }
  }
}

resource "aws_appautoscaling_target" "variant" {
  for_each           = var.variants
  service_namespace  = "sagemaker"
  scalable_dimension = "sagemaker:variant:DesiredInstanceCount"
  resource_id        = "endpoint/${var.name}/variant/${each.key}"
  min_capacity       = var.instances.min
  max_capacity       = var.instances.max
  depends_on         = [aws_cloudformation_stack.endpoint]
}

resource "aws_appautoscaling_policy" "variant" {
  for_each           = var.variants
  name               = "${var.name}-${each.key}-invocations"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = "sagemaker"
  scalable_dimension = aws_appautoscaling_target.variant[each.key].scalable_dimension
  resource_id        = aws_appautoscaling_target.variant[each.key].resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = var.invocations_per_minute
    scale_out_cooldown = 60
    scale_in_cooldown  = 300

    predefined_metric_specification {
      predefined_metric_type = "SageMakerVariantInvocationsPerInstance"
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "errors" {
  for_each            = var.variants
  alarm_name          = "${var.name}-${each.key}-5xx"
  alarm_description   = "Requests to ${var.name}/${each.key} that the service could not answer"
  namespace           = "AWS/SageMaker"
  metric_name         = "Invocation5XXErrors"
  dimensions          = { EndpointName = var.name, VariantName = each.key }
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 2
  threshold           = 5
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
}

resource "aws_cloudwatch_metric_alarm" "latency" {
  for_each           = var.variants
  alarm_name         = "${var.name}-${each.key}-latency"
  alarm_description  = "The slowest one of a hundred answers of ${var.name}/${each.key}"
  namespace          = "AWS/SageMaker"
  metric_name        = "ModelLatency"
  dimensions         = { EndpointName = var.name, VariantName = each.key }
  extended_statistic = "p99"
  period             = 60
  evaluation_periods = 3
  # SageMaker measures in microseconds.
  threshold           = var.latency_milliseconds * 1000
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
}
