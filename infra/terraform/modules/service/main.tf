# One ECS service: task definition, its two roles, its log, and a deployment that goes back by itself when the new tasks do not get well.

locals {
  full_name = "${var.name}-${var.service}"
  fargate   = startswith(var.capacity_provider, "FARGATE")

  # What Fargate has: the least and the largest memory (MiB) of a share of a core, and the steps between them.
  sizes = {
    256  = { least = 512, most = 2048, step = 512 }
    512  = { least = 1024, most = 4096, step = 1024 }
    1024 = { least = 2048, most = 8192, step = 1024 }
    2048 = { least = 4096, most = 16384, step = 1024 }
    4096 = { least = 8192, most = 30720, step = 1024 }
  }
  size = try(local.sizes[var.cpu], { least = 0, most = 0, step = 1024 })

  # A whole task is paid for, so that its container has all of it.
  memory = local.fargate ? max(local.size.least, ceil(var.memory / local.size.step) * local.size.step) : var.memory

  container = {
    image                  = var.image
    essential              = true
    readonlyRootFilesystem = true
    environment            = [for name, value in merge(local.fargate ? { TMPDIR = "/var/lib/laurel" } : {}, var.environment) : { name = name, value = value }]
    secrets                = [for name, arn in merge(var.parameters, var.secrets) : { name = name, valueFrom = arn }]
    mountPoints            = [{ sourceVolume = "state", containerPath = "/var/lib/laurel", readOnly = false }]

    # Fargate has no tmpfs, and an empty volume belongs to root unless the image has a VOLUME there.
    linuxParameters = merge(
      { initProcessEnabled = true, capabilities = { add = [], drop = ["ALL"] } },
      local.fargate ? {} : { tmpfs = [{ containerPath = "/tmp", size = 256 }] },
    )

    logConfiguration = {
      logDriver = "awslogs"

      options = {
        awslogs-group         = aws_cloudwatch_log_group.main.name
        awslogs-region        = var.region
        awslogs-stream-prefix = var.service
        # A slow CloudWatch must not hold up answers; what does not fit is dropped.
        mode            = "non-blocking"
        max-buffer-size = "16m"
      }
    }
  }

  main = merge(local.container, {
    name              = var.service
    cpu               = var.cpu
    memory            = local.memory
    memoryReservation = local.memory
    command           = var.command
    stopTimeout       = var.stop_seconds
    # Port 0: one of the instance's that is free; the load balancer is told which.
    portMappings = var.port == null ? [] : [{ containerPort = var.port, hostPort = var.network == null ? 0 : var.port, protocol = "tcp" }]
    dependsOn    = length(var.preparation) > 0 ? [{ containerName = "preparation", condition = "SUCCESS" }] : []

    healthCheck = length(var.health_command) == 0 ? null : {
      command     = concat(["CMD"], var.health_command)
      interval    = 15
      timeout     = 10
      retries     = 3
      startPeriod = var.start_seconds
    }
  })

  preparation = merge(local.container, {
    name              = "preparation"
    cpu               = 0
    memory            = 512
    memoryReservation = 64
    essential         = false
    command           = var.preparation
    secrets           = [for name, arn in merge(var.parameters, var.secrets, var.preparation_secrets) : { name = name, valueFrom = arn }]
    portMappings      = []
  })
}

resource "aws_cloudwatch_log_group" "main" {
  # checkov:skip=CKV_AWS_338:How long logs are kept is the variable log_retention_days; a year is not everybody's need
  name              = "/${var.name}/${var.service}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

module "execution_role" {
  source          = "../execution_role"
  name            = "${local.full_name}-start"
  repository_arns = [var.repository_arn]
  log_group_arn   = aws_cloudwatch_log_group.main.arn
  secret_arns     = var.secret_arns
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

resource "aws_iam_role" "task" {
  name               = local.full_name
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_role_policy" "task" {
  count  = length(var.task_policies)
  name   = "work-${count.index}"
  role   = aws_iam_role.task.id
  policy = var.task_policies[count.index]
}

resource "aws_ecs_task_definition" "main" {
  # checkov:skip=CKV_AWS_336:Every container has readonlyRootFilesystem; the check cannot read jsonencode of a merge
  family                   = local.full_name
  requires_compatibilities = [local.fargate ? "FARGATE" : "EC2"]
  network_mode             = var.network == null ? "bridge" : "awsvpc"
  cpu                      = local.fargate ? var.cpu : null
  memory                   = local.fargate ? local.memory : null
  task_role_arn            = aws_iam_role.task.arn
  execution_role_arn       = module.execution_role.arn
  container_definitions    = jsonencode(concat([local.main], length(var.preparation) > 0 ? [local.preparation] : []))
  # ECS rolls back to the previous revision, which must still be registered.
  skip_destroy = true

  dynamic "runtime_platform" {
    for_each = local.fargate ? [1] : []

    content {
      operating_system_family = "LINUX"
      cpu_architecture        = "X86_64"
    }
  }

  # Of the task, and gone with it. Docker, and Fargate for a VOLUME of the image, gives it the owner that the folder has in the image.
  volume {
    name = "state"

    dynamic "docker_volume_configuration" {
      for_each = local.fargate ? [] : [1]

      content {
        scope  = "task"
        driver = "local"
      }
    }
  }

  lifecycle {
    precondition {
      condition     = !local.fargate || (var.network != null && contains(keys(local.sizes), tostring(var.cpu)) && local.memory <= local.size.most)
      error_message = "Fargate has no task of ${var.cpu} CPU units and ${var.memory} MiB: cpu is 256, 512, 1024, 2048 or 4096, with at most 2, 4, 8, 16 or 30 GiB. It needs a network."
    }
  }
}

resource "aws_service_discovery_service" "main" {
  count         = try(var.network.dns, false) ? 1 : 0
  name          = var.service
  force_destroy = true

  dns_config {
    namespace_id   = var.network.namespace_id
    routing_policy = "MULTIVALUE"

    dns_records {
      type = "A"
      ttl  = 10
    }
  }

  # ECS takes tasks out that are not well.
  health_check_custom_config {
    failure_threshold = 1
  }

  lifecycle {
    # AWS sets it to 1 whatever is asked for.
    ignore_changes = [health_check_custom_config]
  }
}

resource "aws_ecs_service" "main" {
  name                              = var.service
  cluster                           = var.cluster_arn
  task_definition                   = aws_ecs_task_definition.main.arn
  desired_count                     = var.tasks
  enable_ecs_managed_tags           = true
  propagate_tags                    = "SERVICE"
  health_check_grace_period_seconds = var.target_group_arn == null ? null : var.start_seconds
  availability_zone_rebalancing     = var.overlap ? "ENABLED" : "DISABLED"

  deployment_minimum_healthy_percent = var.overlap ? 100 : 0
  deployment_maximum_percent         = var.overlap ? 200 : 100

  # Secrets are read when a task starts.
  force_new_deployment = true
  triggers             = { secrets_version = var.secrets_version }

  capacity_provider_strategy {
    capacity_provider = var.capacity_provider
    weight            = 1
    base              = 1
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  # Fargate spreads tasks over the zones by itself.
  dynamic "ordered_placement_strategy" {
    for_each = local.fargate ? [] : [["spread", "attribute:ecs.availability-zone"], ["binpack", "memory"]]

    content {
      type  = ordered_placement_strategy.value[0]
      field = ordered_placement_strategy.value[1]
    }
  }

  dynamic "network_configuration" {
    for_each = var.network == null ? [] : [var.network]

    content {
      subnets         = network_configuration.value.subnets
      security_groups = network_configuration.value.security_groups
    }
  }

  dynamic "service_registries" {
    for_each = aws_service_discovery_service.main

    content {
      registry_arn = service_registries.value.arn
    }
  }

  dynamic "load_balancer" {
    for_each = var.target_group_arn == null ? [] : [var.target_group_arn]

    content {
      target_group_arn = load_balancer.value
      container_name   = var.service
      container_port   = var.port
    }
  }

  lifecycle {
    ignore_changes = [desired_count]
  }

  # Rights, rules and databases exist before the first task starts and until the last one has ended.
  depends_on = [aws_iam_role_policy.task, var.stands_before]
}
