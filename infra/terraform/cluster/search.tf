# A Dask cluster whose workers fit the trials of searches: only with search_workers.count above 0. Its instances are those of flow runs.

locals {
  searching   = local.running && var.search_workers.count > 0
  search      = local.searching ? toset(["search-scheduler", "search-worker"]) : toset([])
  search_port = 8786
  # A worker's own, and its nanny's. Scheduler and other workers call them.
  search_worker_ports = { first = 9000, last = 9001 }

  dask_address = "tcp://search-scheduler.${module.ecs.domain}:${local.search_port}"

  search_calls = local.searching ? {
    "flow-runs to scheduler" = { from = module.flow_runs.security_group, to = "search-scheduler", first = local.search_port, last = local.search_port }
    "workers to scheduler"   = { from = aws_security_group.search["search-worker"].id, to = "search-scheduler", first = local.search_port, last = local.search_port }
    "scheduler to workers"   = { from = aws_security_group.search["search-scheduler"].id, to = "search-worker", first = local.search_worker_ports.first, last = local.search_worker_ports.last }
    "workers to workers"     = { from = aws_security_group.search["search-worker"].id, to = "search-worker", first = local.search_worker_ports.first, last = local.search_worker_ports.last }
  } : {}
}

# Who reaches the scheduler runs code on its workers: flow runs alone may.
resource "aws_security_group" "search" {
  # checkov:skip=CKV2_AWS_5:ECS attaches it to the network interfaces of the service's tasks
  for_each    = local.search
  name        = "${var.name}-${each.key}"
  description = "Dask: ${each.key}"
  vpc_id      = module.network.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "search" {
  for_each                     = local.search_calls
  security_group_id            = aws_security_group.search[each.value.to].id
  description                  = each.key
  referenced_security_group_id = each.value.from
  ip_protocol                  = "tcp"
  from_port                    = each.value.first
  to_port                      = each.value.last
}

resource "aws_vpc_security_group_egress_rule" "search" {
  for_each          = { for call, rule in local.search_calls : call => rule if call != "flow-runs to scheduler" }
  security_group_id = each.value.from
  description       = each.key
  cidr_ipv4         = module.network.cidr
  ip_protocol       = "tcp"
  from_port         = each.value.first
  to_port           = each.value.last
}

module "search_scheduler" {
  source             = "../modules/service"
  count              = local.searching ? 1 : 0
  name               = var.name
  service            = "search-scheduler"
  region             = var.region
  cluster_arn        = local.service.cluster
  capacity_provider  = module.ecs.capacity_providers["flows"]
  image              = local.flows_image
  repository_arn     = local.service.repository_arn
  kms_key_arn        = local.service.kms_key_arn
  log_retention_days = local.service.log_retention_days
  secrets_version    = var.secrets_version
  command            = ["python", "-m", "distributed.cli.dask_scheduler", "--port", tostring(local.search_port), "--no-dashboard", "--no-show"]
  health_command     = ["python", "-c", "import socket; socket.create_connection(('127.0.0.1', ${local.search_port}), 5)"]
  stands_before      = local.search_rules
  cpu                = 256
  memory             = 1024
  port               = local.search_port
  parameters         = {}
  secrets            = {}
  secret_arns        = []
  network            = { subnets = module.network.private_subnets, security_groups = [aws_security_group.search["search-scheduler"].id], namespace_id = module.ecs.namespace_id }
}

# A thread each: a trial takes one core, and one that takes all memory ends no other.
module "search_worker" {
  source             = "../modules/service"
  count              = local.searching ? 1 : 0
  name               = var.name
  service            = "search-worker"
  region             = var.region
  cluster_arn        = local.service.cluster
  capacity_provider  = module.ecs.capacity_providers["flows"]
  image              = local.flows_image
  repository_arn     = local.service.repository_arn
  kms_key_arn        = local.service.kms_key_arn
  log_retention_days = local.service.log_retention_days
  secrets_version    = var.secrets_version
  tasks              = var.search_workers.count
  stands_before      = local.search_rules
  cpu                = 1024
  memory             = var.search_workers.memory
  port               = local.search_worker_ports.first
  parameters         = {}
  secrets            = {}
  secret_arns        = []
  network            = { subnets = module.network.private_subnets, security_groups = [aws_security_group.search["search-worker"].id], namespace_id = module.ecs.namespace_id }

  # Below the limit of the container, so that Dask ends the trial and says so, and not the kernel.
  command = [
    "python", "-m", "distributed.cli.dask_worker", local.dask_address, "--nthreads", "1", "--nworkers", "1",
    "--worker-port", tostring(local.search_worker_ports.first), "--nanny-port", tostring(local.search_worker_ports.last),
    "--memory-limit", "${floor(var.search_workers.memory * 0.85)}MiB", "--local-directory", "/tmp", "--no-dashboard",
  ]
}

locals {
  search_rules = [for rule in concat(values(aws_vpc_security_group_ingress_rule.search), values(aws_vpc_security_group_egress_rule.search)) : rule.id]
}
