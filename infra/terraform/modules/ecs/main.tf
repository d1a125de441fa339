# An ECS cluster whose instances come and go with its tasks; some of these may run on Fargate, without any. Nobody logs in by SSH: `aws ssm start-session` reaches an instance.

resource "aws_ecs_cluster" "main" {
  # checkov:skip=CKV_AWS_65:Container insights are the variable container_insights; every alarm here works without them
  name = var.name

  setting {
    name  = "containerInsights"
    value = var.container_insights ? "enabled" : "disabled"
  }
}

resource "aws_service_discovery_private_dns_namespace" "main" {
  name        = "${var.name}.internal"
  description = "Services of ${var.name} by name, inside the VPC"
  vpc         = var.vpc_id
}

resource "aws_security_group" "instances" {
  name        = "${var.name}-instances"
  description = "Container instances, and tasks that share their address"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_egress_rule" "instances" {
  security_group_id = aws_security_group.instances.id
  description       = "AWS services, and the services of the stack"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "instances" {
  name               = "${var.name}-instances"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

# Amazon's managed policies for this let an instance join any cluster, and read every parameter of the account.
data "aws_iam_policy_document" "instances" {
  # checkov:skip=CKV_AWS_111:Session Manager's actions and ecs:DiscoverPollEndpoint take no other resource
  # checkov:skip=CKV_AWS_356:The same
  statement {
    sid       = "Session"
    resources = ["*"]

    actions = [
      "ecs:DiscoverPollEndpoint", "ssm:UpdateInstanceInformation", "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel",
      "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel",
    ]
  }

  statement {
    sid       = "Join"
    resources = [aws_ecs_cluster.main.arn]

    actions = [
      "ecs:DeregisterContainerInstance", "ecs:RegisterContainerInstance", "ecs:SubmitAttachmentStateChanges", "ecs:SubmitContainerStateChange",
      "ecs:SubmitTaskStateChange",
    ]
  }

  statement {
    sid       = "Listen"
    actions   = ["ecs:Poll", "ecs:StartTelemetrySession"]
    resources = ["*"]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [aws_ecs_cluster.main.arn]
    }
  }

  # Draining, when a spot instance is about to be taken away.
  statement {
    sid       = "Drain"
    actions   = ["ecs:PutSystemLogEvents", "ecs:UpdateContainerInstancesState"]
    resources = ["${replace(aws_ecs_cluster.main.arn, ":cluster/", ":container-instance/")}/*"]
  }

  statement {
    sid       = "Tag"
    actions   = ["ecs:TagResource"]
    resources = ["${replace(aws_ecs_cluster.main.arn, ":cluster/", ":container-instance/")}/*"]

    condition {
      test     = "StringEquals"
      variable = "ecs:CreateAction"
      values   = ["RegisterContainerInstance"]
    }
  }
}

resource "aws_iam_role_policy" "instances" {
  name   = "join-cluster"
  role   = aws_iam_role.instances.id
  policy = data.aws_iam_policy_document.instances.json
}

resource "aws_iam_instance_profile" "instances" {
  name = "${var.name}-instances"
  role = aws_iam_role.instances.name
}

data "aws_ssm_parameter" "image" {
  name = "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"
}

resource "aws_launch_template" "main" {
  # checkov:skip=CKV_AWS_341:The hop limit is 1
  for_each               = var.capacity
  name                   = "${var.name}-${each.key}"
  image_id               = data.aws_ssm_parameter.image.insecure_value
  instance_type          = each.value.instance_types[0]
  vpc_security_group_ids = [aws_security_group.instances.id]
  update_default_version = true

  iam_instance_profile {
    arn = aws_iam_instance_profile.instances.arn
  }

  # One hop: a container in network mode bridge is two hops away, and gets no credentials of the instance. Those in awsvpc are
  # kept away by the agent.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  # With AWS's own key for disks: autoscaling would need a grant on a key of ours before the first instance could start.
  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      encrypted             = true
      volume_type           = "gp3"
      volume_size           = each.value.disk_gigabytes
      delete_on_termination = true
    }
  }

  # A tag means one image forever, so that an image is pulled once. Not prefer-cached, which never removes one: the disk fills up.
  user_data = base64encode(<<-EOT
    #!/bin/sh
    cat >> /etc/ecs/ecs.config <<'CONFIG'
    ECS_CLUSTER=${aws_ecs_cluster.main.name}
    ECS_ENABLE_SPOT_INSTANCE_DRAINING=true
    ECS_AWSVPC_BLOCK_IMDS=true
    ECS_CONTAINER_STOP_TIMEOUT=120s
    ECS_IMAGE_PULL_BEHAVIOR=once
    ECS_DISABLE_IMAGE_CLEANUP=false
    ECS_IMAGE_CLEANUP_INTERVAL=30m
    ECS_IMAGE_MINIMUM_CLEANUP_AGE=1h
    ECS_NUM_IMAGES_DELETE_PER_CYCLE=5
    ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=1h
    CONFIG
  EOT
  )

  tag_specifications {
    resource_type = "instance"
    tags          = { Name = "${var.name}-${each.key}" }
  }

  tag_specifications {
    resource_type = "volume"
    tags          = { Name = "${var.name}-${each.key}" }
  }
}

resource "aws_autoscaling_group" "main" {
  for_each            = var.capacity
  name                = "${var.name}-${each.key}"
  vpc_zone_identifier = var.subnets
  min_size            = each.value.minimum
  max_size            = each.value.maximum
  # ECS alone ends instances, those without tasks: protected from everybody else, as managed termination protection asks.
  protect_from_scale_in = true
  # Else terraform destroy would wait for instances that are protected.
  force_delete              = true
  capacity_rebalance        = true
  wait_for_capacity_timeout = "0"
  # Nothing patches a running instance: it is replaced instead, from the newest image that an apply found.
  max_instance_lifetime = each.value.maximum_days * 86400
  # What the dashboard shows is published only if it is asked for, and free.
  metrics_granularity = "1Minute"
  enabled_metrics     = ["GroupDesiredCapacity", "GroupInServiceInstances"]

  mixed_instances_policy {
    instances_distribution {
      on_demand_base_capacity                  = each.value.on_demand_base
      on_demand_percentage_above_base_capacity = 0
      spot_allocation_strategy                 = "price-capacity-optimized"
    }

    launch_template {
      launch_template_specification {
        launch_template_id = aws_launch_template.main[each.key].id
        version            = aws_launch_template.main[each.key].latest_version
      }

      dynamic "override" {
        for_each = each.value.instance_types

        content {
          instance_type = override.value
        }
      }
    }
  }

  tag {
    key                 = "AmazonECSManaged"
    value               = "true"
    propagate_at_launch = true
  }

  tag {
    key                 = "Name"
    value               = "${var.name}-${each.key}"
    propagate_at_launch = true
  }

  # A newer image (or another launch template) replaces the running instances: new ones come first, and ECS drains the old ones,
  # although they are protected. A group that shrinks to zero gets new instances by itself.
  dynamic "instance_refresh" {
    for_each = each.value.minimum > 0 ? [1] : []

    content {
      strategy = "Rolling"

      preferences {
        min_healthy_percentage       = 100
        max_healthy_percentage       = 200
        scale_in_protected_instances = "Refresh"
        skip_matching                = true
      }
    }
  }

  lifecycle {
    # ECS sets it.
    ignore_changes = [desired_capacity]
  }

  # An instance needs its rights and its way out from its first minute, and to its last: until then its agent reports what ended.
  depends_on = [aws_iam_role_policy.instances, aws_vpc_security_group_egress_rule.instances]
}

resource "aws_ecs_capacity_provider" "main" {
  for_each = var.capacity
  name     = "${var.name}-${each.key}"

  auto_scaling_group_provider {
    auto_scaling_group_arn         = aws_autoscaling_group.main[each.key].arn
    managed_termination_protection = "ENABLED"
    managed_draining               = "ENABLED"

    managed_scaling {
      status                    = "ENABLED"
      target_capacity           = 100
      minimum_scaling_step_size = 1
      maximum_scaling_step_size = 10
      instance_warmup_period    = 60
    }
  }
}

resource "aws_ecs_cluster_capacity_providers" "main" {
  cluster_name       = aws_ecs_cluster.main.name
  capacity_providers = concat([for provider in aws_ecs_capacity_provider.main : provider.name], var.fargate)

  default_capacity_provider_strategy {
    capacity_provider = aws_ecs_capacity_provider.main[var.default_capacity].name
    weight            = 1
  }
}
