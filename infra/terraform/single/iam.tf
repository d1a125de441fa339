# What the box may do, and with it every container on it: its bucket, its own session, and the images that it was told to pull.

data "aws_iam_policy_document" "assume" {
  for_each = toset(["ec2", "dlm"])

  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["${each.key}.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "box" {
  statement {
    sid       = "LakeList"
    actions   = ["s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads"]
    resources = [module.lake.arn]
  }

  statement {
    sid       = "LakeObjects"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    resources = ["${module.lake.arn}/*"]
  }

  # AmazonSSMManagedInstanceCore would let the box read every parameter of the account. This is what a session needs; these actions
  # know no narrower resource.
  statement {
    # checkov:skip=CKV_AWS_111:Session Manager's actions cannot be narrowed to a resource
    # checkov:skip=CKV_AWS_356:Session Manager's actions cannot be narrowed to a resource
    sid = "Session"
    actions = [
      "ssm:UpdateInstanceInformation",
      "ssmmessages:CreateControlChannel",
      "ssmmessages:CreateDataChannel",
      "ssmmessages:OpenControlChannel",
      "ssmmessages:OpenDataChannel",
    ]
    resources = ["*"]
  }

  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]

    content {
      sid       = "LakeKey"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]
    }
  }
}

data "aws_iam_policy_document" "images" {
  count = var.images == null ? 0 : 1

  statement {
    # checkov:skip=CKV_AWS_356:The login to ECR cannot be narrowed to a resource
    sid       = "Login"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid     = "Pull"
    actions = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    # 123456789012.dkr.ecr.us-east-1.amazonaws.com/team/laurel-flows:1 or @sha256:... -> that account's and region's team/laurel-flows
    resources = [
      for parts in [for image in values(var.images) : regex("^([0-9]+)\\.dkr\\.ecr\\.([a-z0-9-]+)\\.[^/]+/([^:@]+)", image)] :
      "${local.arn}:ecr:${parts[1]}:${parts[0]}:repository/${parts[2]}"
    ]
  }
}

resource "aws_iam_role" "box" {
  name               = "${var.name}-box"
  assume_role_policy = data.aws_iam_policy_document.assume["ec2"].json
}

resource "aws_iam_role_policy" "box" {
  name   = "box"
  role   = aws_iam_role.box.id
  policy = data.aws_iam_policy_document.box.json
}

resource "aws_iam_role_policy" "images" {
  count  = var.images == null ? 0 : 1
  name   = "images"
  role   = aws_iam_role.box.id
  policy = data.aws_iam_policy_document.images[0].json
}

resource "aws_iam_instance_profile" "box" {
  name = "${var.name}-box"
  role = aws_iam_role.box.name
}
