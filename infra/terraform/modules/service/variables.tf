variable "name" {
  description = "Prefix of all names."
  type        = string
}

variable "service" {
  description = "Name of the service; with the prefix, the name of its task definition family, roles and DNS entry."
  type        = string
}

variable "cluster_arn" {
  description = "Cluster that runs the service."
  type        = string
}

variable "capacity_provider" {
  description = "Capacity provider that its tasks are placed on; FARGATE and FARGATE_SPOT: on Fargate, with a network interface of their own."
  type        = string
}

variable "image" {
  description = "Address of the image, with its tag."
  type        = string
}

variable "repository_arn" {
  description = "Repository of the image."
  type        = string
}

variable "command" {
  description = "Command of the container; empty: the image's own."
  type        = list(string)
  default     = []
}

variable "preparation" {
  description = "Command that must end well before the container starts, in the same image and environment; empty: none."
  type        = list(string)
  default     = []
}

variable "cpu" {
  description = "Share of a core that the service is sure of, in 1/1024; what others leave free on an instance it may use too."
  type        = number
}

variable "memory" {
  description = "Memory of the service in MiB; it is ended where it takes more. On Fargate it is the next size that there is."
  type        = number
}

variable "port" {
  description = "Port that the container listens on; null: none."
  type        = number
  default     = null
}

variable "health_command" {
  description = "Command that ends with 0 while the container is well; empty: none, ECS sees only whether it runs."
  type        = list(string)
  default     = []
}

variable "start_seconds" {
  description = "Seconds within which failing health checks are not counted."
  type        = number
  default     = 60
}

variable "environment" {
  description = "Plain environment variables of the container."
  type        = map(string)
  default     = {}
}

variable "parameters" {
  description = "Environment variables from the Parameter Store: variable -> ARN."
  type        = map(string)
}

variable "secrets" {
  description = "Environment variables from Secrets Manager: variable -> ARN, which may name a key of a JSON secret (ARN:key::)."
  type        = map(string)
}

variable "preparation_secrets" {
  description = "Environment variables from Secrets Manager for the preparation alone: variable -> ARN."
  type        = map(string)
  default     = {}
}

variable "secret_arns" {
  description = "ARNs of all those secrets, without keys."
  type        = list(string)
}

variable "secrets_version" {
  description = "Number of the secrets; a new one starts the tasks anew."
  type        = number
}

variable "task_policies" {
  description = "IAM policies (JSON) of the service's own code; none: it may do nothing in AWS."
  type        = list(string)
  default     = []
}

variable "network" {
  description = "Subnets and security groups of a network interface for each task (mode awsvpc), with a DNS entry in the namespace unless dns is false; null: tasks share the instance's address (mode bridge)."
  type = object({
    subnets         = list(string)
    security_groups = list(string)
    namespace_id    = string
    dns             = optional(bool, true)
  })
  default = null
}

variable "stands_before" {
  description = "Ids of resources that must exist while a task runs, such as the rules of its security groups: destroy removes the service before them."
  type        = list(string)
  default     = []
}

variable "target_group_arn" {
  description = "Target group of a load balancer that the tasks register with; null: none."
  type        = string
  default     = null
}

variable "tasks" {
  description = "How many tasks run; autoscaling changes it within its bounds, and Terraform leaves that so."
  type        = number
  default     = 1
}

variable "stop_seconds" {
  description = "Seconds between the request to end and the kill, at most 120."
  type        = number
  default     = 60
}

variable "overlap" {
  description = "Whether a deployment starts the new tasks before it ends the old ones; false: the other way round, for what must not run twice."
  type        = bool
  default     = false
}

variable "kms_key_arn" {
  description = "KMS key of the secrets and the log."
  type        = string
}

variable "log_retention_days" {
  description = "Days that the log is kept."
  type        = number
}

variable "region" {
  description = "Region of the log."
  type        = string
}
