output "arn" {
  description = "ARN of the key."
  value       = aws_kms_key.main.arn
  # Who encrypts with the key needs its policy to be there.
  depends_on = [aws_kms_key_policy.main]
}
