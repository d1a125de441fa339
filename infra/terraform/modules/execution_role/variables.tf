variable "name" {
  description = "Name of the role."
  type        = string
}

variable "repository_arns" {
  description = "Image repositories that it may pull from."
  type        = list(string)
}

variable "log_group_arn" {
  description = "Log group that it may write to."
  type        = string
}

variable "secret_arns" {
  description = "Secrets that it may read."
  type        = list(string)
}

variable "parameter_arns" {
  description = "Parameters that it may read."
  type        = list(string)
}

variable "kms_key_arn" {
  description = "KMS key of the secrets."
  type        = string
}
