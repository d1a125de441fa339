# A SageMaker endpoint of the image laurel-serving: the same service and the same model package as anywhere else, behind IAM.

locals {
  # A model cannot be changed, only replaced: its name tells what is in it.
  models = { for variant, one in var.variants : variant => {
    url  = one.model_data_url
    name = "${var.name}-${variant}-${substr(sha256(jsonencode([var.image, one.model_data_url, local.environment])), 0, 8)}"
  } }

  # It writes no log: its answers would stand among those that callers got, under ids of its own.
  shadow_name = var.shadow == null ? null : "${var.name}-shadow-${substr(sha256(jsonencode([var.image, var.shadow.model_data_url, var.environment])), 0, 8)}"

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

resource "aws_sagemaker_model" "shadow" {
  count                    = var.shadow == null ? 0 : 1
  name                     = local.shadow_name
  execution_role_arn       = aws_iam_role.endpoint.arn
  enable_network_isolation = true

  primary_container {
    image          = var.image
    model_data_url = var.shadow.model_data_url
    environment    = var.environment
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

  # With the variant's own weight it gets a copy of all requests.
  dynamic "shadow_production_variants" {
    for_each = aws_sagemaker_model.shadow

    content {
      variant_name           = "shadow"
      model_name             = shadow_production_variants.value.name
      instance_type          = var.instance_type
      initial_instance_count = var.instances.min
      initial_variant_weight = one(values(var.variants)).weight
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

  # By default Terraform gives up after 30 minutes. An update has its waits (below), and needs an hour for its instances.
  timeouts {
    create = "60m"
    update = "${max(90, ceil(max(local.waits_seconds, coalesce(var.rollout.timeout_seconds, 0)) / 60) + 60)}m"
  }

  lifecycle {
    precondition {
      # A deployment that reaches SageMaker's limit is taken back.
      condition     = local.waits_seconds < coalesce(var.rollout.timeout_seconds, 28800)
      error_message = "rollout waits for ${local.waits_seconds} seconds, and timeout_seconds is ${coalesce(var.rollout.timeout_seconds, 28800)} (28800, eight hours, at most): larger steps, or shorter waits."
    }
  }
}

locals {
  # New instances get some of the requests, then more or all of them; an alarm meanwhile, or while the old ones still stand, gives the
  # requests back to those. A step is at most half of a variant: if one instance is enough, the new one takes over at once.
  kind          = coalesce(var.rollout.kind, var.instances.min > 1 ? "canary" : "all_at_once")
  steps         = { canary = 2, linear = ceil(100 / max(1, var.rollout.percent)) }
  waits_seconds = lookup(local.steps, local.kind, 1) * var.rollout.wait_seconds + var.rollout.termination_wait_seconds
  size          = { Type = "CAPACITY_PERCENT", Value = var.rollout.percent }

  deployment = {
    BlueGreenUpdatePolicy = merge(
      {
        TerminationWaitInSeconds = var.rollout.termination_wait_seconds

        TrafficRoutingConfiguration = merge(
          { Type = upper(local.kind), WaitIntervalInSeconds = var.rollout.wait_seconds },
          local.kind == "canary" ? { CanarySize = local.size } : {},
          local.kind == "linear" ? { LinearStepSize = local.size } : {},
        )
      },
      var.rollout.timeout_seconds == null ? {} : { MaximumExecutionTimeoutInSeconds = var.rollout.timeout_seconds },
    )

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
