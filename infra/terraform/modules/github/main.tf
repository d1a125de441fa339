# Jobs of one GitHub repository get credentials for an hour by showing who they are (OIDC). No key is kept anywhere.

locals {
  host     = "token.actions.githubusercontent.com"
  provider = var.provider_arn == null ? aws_iam_openid_connect_provider.github[0].arn : var.provider_arn
  # Who may take which role. A pull request's code is not reviewed yet: it gets no more than plan needs.
  subjects = {
    deploy = "repo:${var.repository}:environment:${var.environment}"
    train  = "repo:${var.repository}:environment:${var.training_environment}"
    plan   = "repo:${var.repository}:pull_request"
    apply  = "repo:${var.repository}:environment:${var.environment}"
  }
  # Training pushes to a repository of its own. A deployment takes an image that has the right tag already, and anybody can work out the
  # tag: from a repository that training may push to it would take the code of an unmerged pull request.
  pushed = {
    deploy = [for name, arn in var.repository_arns : arn if name != var.training_repository]
    train  = [var.repository_arns[var.training_repository]]
  }
  roles    = toset(concat(["deploy", "train"], keys(var.terraform_policy_arns)))
  policies = merge([for key, arns in var.terraform_policy_arns : { for arn in arns : "${key} ${arn}" => { role = key, arn = arn } }]...)
}

resource "aws_iam_openid_connect_provider" "github" {
  count          = var.provider_arn == null ? 1 : 0
  url            = "https://${local.host}"
  client_id_list = ["sts.amazonaws.com"]
}

data "aws_iam_policy_document" "assume" {
  for_each = local.roles

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [local.provider]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.host}:aud"
      values   = ["sts.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.host}:sub"
      values   = [local.subjects[each.value]]
    }
  }
}

resource "aws_iam_role" "main" {
  for_each           = local.roles
  name               = "${var.name}-github-${each.value}"
  assume_role_policy = data.aws_iam_policy_document.assume[each.value].json
  # A retrain is waited for, two hours at most.
  max_session_duration = each.value == "train" ? 10800 : 3600
}

resource "aws_iam_role_policy_attachment" "terraform" {
  for_each   = local.policies
  role       = aws_iam_role.main[each.value.role].name
  policy_arn = each.value.arn
}

# What a plan needs beyond ReadOnlyAccess: each plan makes new passwords and throws them away (they are ephemeral), and AWS does not
# count that as reading.
data "aws_iam_policy_document" "plan" {
  # checkov:skip=CKV_AWS_356:AWS takes no other resource for secretsmanager:GetRandomPassword, and it reads nothing
  statement {
    sid       = "MakeThrowawayPasswords"
    actions   = ["secretsmanager:GetRandomPassword"]
    resources = ["*"]
  }
}

resource "aws_iam_role_policy" "plan" {
  count  = contains(keys(var.terraform_policy_arns), "plan") ? 1 : 0
  name   = "plan"
  role   = aws_iam_role.main["plan"].id
  policy = data.aws_iam_policy_document.plan.json
}

# Both push images and run commands inside the cluster.
data "aws_iam_policy_document" "command" {
  # checkov:skip=CKV_AWS_356:ecr:GetAuthorizationToken is of the account, and AWS takes no other resource for it
  for_each = toset(keys(local.pushed))

  statement {
    sid       = "LogIn"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid       = "Push"
    resources = local.pushed[each.value]

    actions = [
      "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:CompleteLayerUpload", "ecr:DescribeImageScanFindings", "ecr:DescribeImages",
      "ecr:GetDownloadUrlForLayer", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart",
    ]
  }

  statement {
    sid       = "Command"
    actions   = ["ecs:RunTask"]
    resources = ["arn:aws:ecs:${var.region}:${var.account_id}:task-definition/${var.command_family}:*"]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = ["arn:aws:ecs:${var.region}:${var.account_id}:cluster/${var.cluster_name}"]
    }
  }

  statement {
    sid       = "WatchCommand"
    actions   = ["ecs:DescribeTasks", "ecs:StopTask"]
    resources = ["arn:aws:ecs:${var.region}:${var.account_id}:task/${var.cluster_name}/*"]
  }

  statement {
    sid       = "ReadCommandLog"
    actions   = ["logs:FilterLogEvents", "logs:GetLogEvents"]
    resources = [var.command_log_group_arn, "${var.command_log_group_arn}:*"]
  }

  statement {
    sid       = "ReadConfiguration"
    actions   = ["ssm:GetParameter", "ssm:GetParameters", "ssm:GetParametersByPath"]
    resources = ["arn:aws:ssm:${var.region}:${var.account_id}:parameter/${var.name}/config", "arn:aws:ssm:${var.region}:${var.account_id}:parameter/${var.name}/config/*"]
  }

  statement {
    sid       = "PassRolesOfCommand"
    actions   = ["iam:PassRole"]
    resources = var.command_role_arns

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }
}

resource "aws_iam_role_policy" "command" {
  for_each = toset(keys(local.pushed))
  name     = "run-commands"
  role     = aws_iam_role.main[each.value].id
  policy   = data.aws_iam_policy_document.command[each.value].json
}

data "aws_iam_policy_document" "deploy" {
  # checkov:skip=CKV_AWS_356:AWS takes no other resource for ecs:DescribeTaskDefinition
  statement {
    sid       = "Describe"
    actions   = ["ecs:DescribeTaskDefinition"]
    resources = ["*"]
  }

  statement {
    sid       = "Register"
    actions   = ["ecs:RegisterTaskDefinition"]
    resources = [for family in var.families : "arn:aws:ecs:${var.region}:${var.account_id}:task-definition/${family}:*"]
  }

  statement {
    sid       = "Update"
    actions   = ["ecs:DescribeServices", "ecs:UpdateService"]
    resources = ["arn:aws:ecs:${var.region}:${var.account_id}:service/${var.cluster_name}/*"]
  }

  statement {
    sid       = "PassRoles"
    actions   = ["iam:PassRole"]
    resources = var.passed_role_arns

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }
}

resource "aws_iam_role_policy" "deploy" {
  name   = "deploy"
  role   = aws_iam_role.main["deploy"].id
  policy = data.aws_iam_policy_document.deploy.json
}
