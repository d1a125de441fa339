variable "name" {
  description = "Prefix of all names."
  type        = string
}

variable "account_id" {
  description = "Number of the AWS account."
  type        = string
}

variable "cluster_arn" {
  description = "Cluster whose tasks are watched, and which runs commands."
  type        = string
}

variable "bucket" {
  description = "Bucket of the lake; EventBridge is told of its new objects."
  type        = string
}

variable "command" {
  description = "Task definition (newest of its family) and capacity provider of the command that starts ingest; null before the first image."
  type = object({
    definition_arn    = string
    capacity_provider = string
  })
}

variable "command_family" {
  description = "Family of that task definition."
  type        = string
}

variable "command_role_arns" {
  description = "Roles of the command, which EventBridge passes on."
  type        = list(string)
}

variable "subnets" {
  description = "Subnets of the command."
  type        = list(string)
}

variable "security_group" {
  description = "Security group of the command."
  type        = string
}

variable "kms_key_arn" {
  description = "KMS key of the queues."
  type        = string
}
