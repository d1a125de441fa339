output "bucket" {
  description = "Name of the bucket."
  value       = aws_s3_bucket.lake.id
  # Whoever reads the name uses the bucket, so it waits for the policy that guards it.
  depends_on = [aws_s3_bucket_policy.lake, aws_s3_bucket_server_side_encryption_configuration.lake]
}

output "arn" {
  description = "ARN of the bucket, for IAM policies."
  value       = aws_s3_bucket.lake.arn
}

output "url" {
  description = "The lake as LAUREL_LAKE wants it."
  value       = "s3://${aws_s3_bucket.lake.id}"
}
