variable "name" {
  description = "Name of the endpoint, by which it is called."
  type        = string
  default     = "laurel"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,24}$", var.name))
    error_message = "name is 2 to 25 small letters, digits and hyphens, and begins with a letter."
  }
}

variable "image" {
  description = "laurel-serving in an ECR repository of this account and region; SageMaker starts no image from elsewhere."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}\\.dkr\\.ecr\\.[a-z0-9-]+\\.amazonaws\\.com/[a-z0-9._/-]+[:@].+$", var.image))
    error_message = "image is one of ECR with its tag or digest: 123456789012.dkr.ecr.us-east-1.amazonaws.com/laurel-serving:1.0."
  }
}

variable "variants" {
  description = "Models that share the requests by weight: archives made by python -m deployments.aws.sagemaker_package; one is the usual case."
  type = map(object({
    model_data_url = string
    weight         = optional(number, 1)
  }))

  validation {
    condition     = length(var.variants) > 0 && alltrue([for one in var.variants : can(regex("^s3://[^/]+/.+\\.tar\\.gz$", one.model_data_url))])
    error_message = "Each variant has a model_data_url: s3://bucket/folder/model.tar.gz."
  }

  validation {
    condition     = length(var.variants) <= 5
    error_message = "variants are at most 5: each has two alarms, and SageMaker watches ten while it deploys."
  }
}

variable "shadow" {
  description = "A model that gets a copy of each request beside the one variant, and answers nobody: its archive; null: none."
  type = object({
    model_data_url = string
  })
  default = null

  validation {
    condition     = var.shadow == null ? true : can(regex("^s3://[^/]+/.+\\.tar\\.gz$", var.shadow.model_data_url))
    error_message = "shadow has a model_data_url: s3://bucket/folder/model.tar.gz."
  }

  validation {
    condition     = var.shadow == null ? true : length(var.variants) == 1 && !contains(keys(var.variants), "shadow")
    error_message = "SageMaker copies the requests of one variant: with a shadow, name one in variants, and not \"shadow\"."
  }
}

variable "rollout" {
  description = "How requests go over to new instances: all_at_once, canary (percent of them, then the rest) or linear (percent of them at each step); a wait after each step, in which an alarm takes all back, and a last one before the old instances go. kind null: canary, of one instance all_at_once."
  type = object({
    kind                     = optional(string)
    percent                  = optional(number, 10)
    wait_seconds             = optional(number, 300)
    termination_wait_seconds = optional(number, 600)
    timeout_seconds          = optional(number)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.rollout.kind == null ? true : contains(["all_at_once", "canary", "linear"], var.rollout.kind)
    error_message = "rollout.kind is all_at_once, canary or linear."
  }

  validation {
    condition     = var.rollout.kind == null || var.rollout.kind == "all_at_once" || var.instances.min > 1
    error_message = "rollout: a step is at most half of a variant's instances, so that canary and linear need instances.min of 2 or more."
  }

  validation {
    condition     = var.rollout.percent == floor(var.rollout.percent) && var.rollout.percent <= 50 && var.rollout.percent >= (var.rollout.kind == "linear" ? 10 : 1)
    error_message = "rollout.percent is a whole number: of a canary 1 to 50, of a linear step 10 to 50."
  }

  validation {
    condition     = alltrue([for wait in [var.rollout.wait_seconds, var.rollout.termination_wait_seconds] : wait == floor(wait) && wait >= 0 && wait <= 3600])
    error_message = "rollout: wait_seconds and termination_wait_seconds are whole numbers from 0 to 3600."
  }

  validation {
    condition     = var.rollout.timeout_seconds == null ? true : var.rollout.timeout_seconds == floor(var.rollout.timeout_seconds) && var.rollout.timeout_seconds >= 600 && var.rollout.timeout_seconds <= 28800
    error_message = "rollout.timeout_seconds is a whole number from 600 to 28800; null: SageMaker's own."
  }
}

variable "environment" {
  description = "Settings of the service, without secrets, by name; whoever may describe the model reads them."
  type        = map(string)
  default     = {}
}

variable "lake" {
  description = "Bucket whose predictions/ gets the prediction log; null: nothing is logged, and the container reaches no network at all."
  type        = string
  default     = null
}

variable "instance_type" {
  description = "Type of the instances; the service needs one core and little memory."
  type        = string
  default     = "ml.m5.large"
}

variable "instances" {
  description = "Fewest and most instances of each variant. Two and more stand in different zones; one is gone while it is replaced."
  type = object({
    min = number
    max = number
  })
  default = { min = 1, max = 4 }

  validation {
    condition     = var.instances.min >= 1 && var.instances.max >= var.instances.min
    error_message = "instances: min is at least 1, and max at least min."
  }
}

variable "invocations_per_minute" {
  description = "Requests a minute that one instance should get; more start another one."
  type        = number
  default     = 6000
}

variable "kms_key_arn" {
  description = "KMS key of the instances' disks and of captured data; null: the account's own keys."
  type        = string
  default     = null
}

variable "capture" {
  description = "Where SageMaker itself keeps requests and answers (s3://bucket/prefix) and what share, 1 to 100; null: nowhere, the log is the lake's."
  type = object({
    url     = string
    percent = number
  })
  default = null
}

variable "alarm_actions" {
  description = "ARNs (SNS topics) that alarms go to."
  type        = list(string)
  default     = []
}

variable "latency_milliseconds" {
  description = "The alarm rings when the slowest one of a hundred answers takes longer, three minutes long."
  type        = number
  default     = 200
}
