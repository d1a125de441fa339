output "bucket" {
  description = "For the other stacks: terraform init -backend-config=bucket=<this>."
  value       = module.bucket.bucket
}
