# What tasks find in their environment: configuration in the Parameter Store, secrets in Secrets Manager.

resource "aws_ssm_parameter" "main" {
  # checkov:skip=CKV2_AWS_34:These are addresses and names, no secrets; those are in Secrets Manager
  # checkov:skip=CKV_AWS_337:The same
  for_each = var.parameters
  name     = "/${var.name}/config/${each.key}"
  type     = "String"
  value    = each.value
}

# Made anew at each run and kept nowhere: not in the plan, not in the state. They reach the secrets only when secrets_version changes.
ephemeral "aws_secretsmanager_random_password" "main" {
  for_each            = var.secrets
  password_length     = 40
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "main" {
  # checkov:skip=CKV2_AWS_57:A new value needs its servers and clients to start anew: secrets_version does both at the next apply
  for_each                = var.secrets
  name                    = "${var.name}/${each.key}"
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = var.recovery_days
}

resource "aws_secretsmanager_secret_version" "main" {
  for_each                 = var.secrets
  secret_id                = aws_secretsmanager_secret.main[each.key].id
  secret_string_wo         = "${each.value}${ephemeral.aws_secretsmanager_random_password.main[each.key].random_password}"
  secret_string_wo_version = var.secrets_version
}
