# The lake: one bucket, nobody's but the account's, over TLS only, with a way back from each deletion.

resource "aws_s3_bucket" "lake" {
  # checkov:skip=CKV_AWS_18:Access logs need a second bucket and grow with each read; CloudTrail data events are the account's choice
  # checkov:skip=CKV_AWS_144:A second region doubles the cost; versions protect against deletion, and the loop can be trained again
  # checkov:skip=CKV_AWS_145:SSE-S3 is the default since it costs nothing; kms_key_arn switches KMS on
  # checkov:skip=CKV2_AWS_62:EventBridge notifications are switched on by the variable eventbridge
  bucket        = var.bucket
  force_destroy = var.force_destroy
}

resource "aws_s3_bucket_ownership_controls" "lake" {
  bucket = aws_s3_bucket.lake.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "lake" {
  bucket                  = aws_s3_bucket.lake.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "lake" {
  bucket = aws_s3_bucket.lake.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "lake" {
  bucket = aws_s3_bucket.lake.id

  rule {
    # One data key for the bucket instead of one for each object: a KMS bill that does not grow with the number of files.
    bucket_key_enabled = var.kms_key_arn != null

    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms_key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }
}

data "aws_iam_policy_document" "tls_only" {
  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.lake.arn, "${aws_s3_bucket.lake.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "lake" {
  bucket     = aws_s3_bucket.lake.id
  policy     = data.aws_iam_policy_document.tls_only.json
  depends_on = [aws_s3_bucket_public_access_block.lake]
}

resource "aws_s3_bucket_lifecycle_configuration" "lake" {
  bucket     = aws_s3_bucket.lake.id
  depends_on = [aws_s3_bucket_versioning.lake]

  rule {
    id     = "old-versions-and-broken-uploads"
    status = "Enabled"
    filter {}

    noncurrent_version_expiration {
      noncurrent_days = var.noncurrent_days
    }

    expiration {
      expired_object_delete_marker = true
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 3
    }
  }

  # What steps of a flow run returned: read only by the same run, started again.
  rule {
    id     = "results"
    status = "Enabled"

    filter {
      prefix = "results/"
    }

    expiration {
      days = 7
    }
  }

  # None expires here: the flow tidy removes whole days, and a day's manifest with its files.
  dynamic "rule" {
    for_each = toset(["predictions", "feedback", "compacted"])

    content {
      id     = rule.value
      status = "Enabled"

      filter {
        prefix = "${rule.value}/"
      }

      transition {
        days          = var.predictions_cold_days
        storage_class = "STANDARD_IA"
      }
    }
  }
}

resource "aws_s3_bucket_notification" "lake" {
  count       = var.eventbridge ? 1 : 0
  bucket      = aws_s3_bucket.lake.id
  eventbridge = true
}
