# PostgreSQL for Prefect and MLflow: private, encrypted, TLS only. Each has its own user and databases, made by the container that
# prepares its tasks (python -m deployments.servers.databases): AWS makes one user and one database only, and Terraform does not reach a private server.

locals {
  administrator = "laurel"
  # Whose secret holds which variable: SQLAlchemy's driver, and the database.
  urls = {
    (local.administrator) = { LAUREL_DATABASE_ADMIN = ["postgresql", "postgres"] }
    prefect               = { LAUREL_PREFECT_DATABASE = ["postgresql+asyncpg", "prefect"] }
    mlflow                = { LAUREL_MLFLOW_STORE = ["postgresql", "mlflow"], LAUREL_MLFLOW_AUTH_STORE = ["postgresql", "mlflow_auth"] }
  }
}

resource "aws_security_group" "database" {
  name        = "${var.name}-database"
  description = "PostgreSQL"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "client" {
  for_each                     = var.clients
  security_group_id            = aws_security_group.database.id
  description                  = "From ${each.key}"
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_db_subnet_group" "main" {
  name       = var.name
  subnet_ids = var.subnets
}

resource "aws_db_parameter_group" "main" {
  name   = "${var.name}-postgres16"
  family = "postgres16"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }

  # Statements that take a second or more; those that change the schema. Never values of single rows that are quick.
  parameter {
    name  = "log_min_duration_statement"
    value = "1000"
  }

  parameter {
    name  = "log_statement"
    value = "ddl"
  }
}

resource "aws_cloudwatch_log_group" "database" {
  # checkov:skip=CKV_AWS_338:How long logs are kept is the variable log_retention_days; a year is not everybody's need
  for_each          = toset(["postgresql", "upgrade"])
  name              = "/aws/rds/instance/${var.name}/${each.value}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

# Made anew at each run and kept nowhere: not in the plan, not in the state. It reaches database and secret only when secrets_version changes.
ephemeral "aws_secretsmanager_random_password" "database" {
  for_each            = local.urls
  password_length     = 32
  exclude_punctuation = true
}

resource "aws_db_instance" "main" {
  # checkov:skip=CKV_AWS_157:A second zone doubles the price; it is the variable multi_az
  # checkov:skip=CKV_AWS_118:Enhanced monitoring adds nothing to the alarms on a database of this size
  # checkov:skip=CKV_AWS_161:Prefect and MLflow connect by SQLAlchemy URLs, which cannot hold a token that changes each 15 minutes
  # checkov:skip=CKV_AWS_353:Performance insights are for databases under load; this one holds the state of runs
  # checkov:skip=CKV_AWS_293:Deletion protection is the variable protect, on by default
  identifier                      = var.name
  engine                          = "postgres"
  engine_version                  = "16"
  instance_class                  = var.instance_class
  allocated_storage               = var.storage_gigabytes
  max_allocated_storage           = var.storage_gigabytes * 5
  storage_type                    = "gp3"
  storage_encrypted               = true
  kms_key_id                      = var.kms_key_arn
  db_name                         = "prefect"
  username                        = local.administrator
  password_wo                     = ephemeral.aws_secretsmanager_random_password.database[local.administrator].random_password
  password_wo_version             = var.secrets_version
  parameter_group_name            = aws_db_parameter_group.main.name
  db_subnet_group_name            = aws_db_subnet_group.main.name
  vpc_security_group_ids          = [aws_security_group.database.id]
  publicly_accessible             = false
  multi_az                        = var.multi_az
  backup_retention_period         = var.backup_days
  copy_tags_to_snapshot           = true
  auto_minor_version_upgrade      = true
  enabled_cloudwatch_logs_exports = ["postgresql", "upgrade"]
  deletion_protection             = var.protect
  skip_final_snapshot             = !var.protect
  final_snapshot_identifier       = var.protect ? "${var.name}-final" : null
  delete_automated_backups        = !var.protect
  apply_immediately               = true
  depends_on                      = [aws_cloudwatch_log_group.database]
}

resource "aws_secretsmanager_secret" "urls" {
  # checkov:skip=CKV2_AWS_57:The passwords change with secrets_version, together in database and secrets; a rotation by itself would leave the services with the old ones
  for_each = local.urls
  # Not with a hyphen: AWS mistakes a hyphen with six letters at the end for the suffix that it adds itself.
  name                    = "${var.name}/database/${each.key}"
  description             = "SQLAlchemy URLs of the database's user ${each.key}"
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = var.secret_recovery_days
}

resource "aws_secretsmanager_secret_version" "urls" {
  for_each                 = local.urls
  secret_id                = aws_secretsmanager_secret.urls[each.key].id
  secret_string_wo_version = var.secrets_version

  secret_string_wo = jsonencode({
    for variable, part in each.value :
    variable => "${part[0]}://${each.key}:${ephemeral.aws_secretsmanager_random_password.database[each.key].random_password}@${aws_db_instance.main.endpoint}/${part[1]}"
  })
}
