variable "name" {
  description = "Prefix of all names."
  type        = string
}

variable "repository" {
  description = "Repository on GitHub, as owner/name."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.repository))
    error_message = "repository is owner/name, without a star."
  }
}

variable "provider_arn" {
  description = "The account's OIDC provider for GitHub, where it has one already (there is one an account); null: it is made."
  type        = string
}

variable "environment" {
  description = "GitHub environment whose jobs may deploy; its approval rule guards the role."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]+$", var.environment))
    error_message = "environment is the plain name of a GitHub environment."
  }
}

variable "training_environment" {
  description = "GitHub environment whose jobs may start flow runs and push images for them."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]+$", var.training_environment))
    error_message = "training_environment is the plain name of a GitHub environment."
  }
}

variable "account_id" {
  description = "Number of the AWS account."
  type        = string
}

variable "region" {
  description = "Region of the stack."
  type        = string
}

variable "cluster_name" {
  description = "Cluster of the services."
  type        = string
}

variable "repository_arns" {
  description = "Image repositories: name -> ARN."
  type        = map(string)
}

variable "training_repository" {
  description = "Name of the one that training pushes to; a deployment pushes to the others."
  type        = string
}

variable "command_role_arns" {
  description = "Task role and execution role of the command."
  type        = list(string)
}

variable "families" {
  description = "Task definition families that a deployment may register and run as services."
  type        = list(string)
}

variable "passed_role_arns" {
  description = "Task and execution roles of those families, the only ones that may be passed on."
  type        = list(string)
}

variable "command_family" {
  description = "Family of the command that a job may run inside the cluster."
  type        = string
}

variable "command_log_group_arn" {
  description = "Log of that command, which a job may read."
  type        = string
}

variable "terraform_policy_arns" {
  description = "IAM policies of the roles by which jobs run Terraform: plan (pull requests) and apply (the environment). A role is made only for a key that is there."
  type        = map(list(string))

  validation {
    condition     = length(setsubtract(keys(var.terraform_policy_arns), ["plan", "apply"])) == 0
    error_message = "The keys are plan and apply."
  }
}
