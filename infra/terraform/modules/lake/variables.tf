variable "bucket" {
  description = "Name of the bucket; the names of all buckets of AWS share one space, so put the account's number into it."
  type        = string
}

variable "kms_key_arn" {
  description = "KMS key that encrypts the objects; null: keys that S3 keeps (SSE-S3), which cost nothing."
  type        = string
  default     = null
}

variable "eventbridge" {
  description = "Whether EventBridge is told of each object that is made; a rule can then start ingest."
  type        = bool
  default     = false
}

variable "noncurrent_days" {
  description = "Days that an overwritten or deleted object can still be brought back."
  type        = number
  default     = 30

  validation {
    condition     = var.noncurrent_days >= 1
    error_message = "noncurrent_days is at least 1: versions are what a deleted object is brought back from."
  }
}

variable "predictions_cold_days" {
  description = "Days after which predictions and feedback move to cheaper storage (STANDARD_IA); drift checks read the newest ones."
  type        = number
  default     = 60

  validation {
    condition     = var.predictions_cold_days >= 30
    error_message = "predictions_cold_days is at least 30: S3 moves nothing to STANDARD_IA earlier."
  }
}

variable "force_destroy" {
  description = "Whether terraform destroy deletes the bucket with all that is in it; false: it refuses while an object is there."
  type        = bool
  default     = false
}
