variable "name" {
  description = "Prefix of all names."
  type        = string
}

variable "vpc_id" {
  description = "VPC of the flow runs."
  type        = string
}

variable "lake_arn" {
  description = "Bucket of the lake."
  type        = string
}

variable "image" {
  description = "Address of the image laurel-flows, with its tag."
  type        = string
}

variable "pushed" {
  description = "Whether the image was pushed, so that there can be a command."
  type        = bool
}

variable "repository_arn" {
  description = "Repository of the image."
  type        = string
}

variable "training_arn" {
  description = "Repository of the images that a run may have instead: those of pull requests that train."
  type        = string
}

variable "parameters" {
  description = "Environment variables of a command from the Parameter Store: variable -> ARN."
  type        = map(string)
}

variable "secrets" {
  description = "Environment variables of a command from Secrets Manager: variable -> ARN."
  type        = map(string)
}

variable "run_secret_arns" {
  description = "Secrets that a flow run reads."
  type        = list(string)
}

variable "kms_key_arn" {
  description = "KMS key of the lake, the secrets and the log."
  type        = string
}

variable "log_retention_days" {
  description = "Days that the logs are kept."
  type        = number
}

variable "region" {
  description = "Region of the log."
  type        = string
}
