variable "name" {
  description = "Prefix of all names, and name of the cluster."
  type        = string
}

variable "vpc_id" {
  description = "VPC of the instances."
  type        = string
}

variable "subnets" {
  description = "Private subnets of the instances."
  type        = list(string)
}

variable "capacity" {
  description = "Capacity providers by their suffix: the instance types that may stand in for each other, how many instances, how many of them always on demand (the rest is spot), the disk of each, and after how many days it is replaced by a new one."
  type = map(object({
    instance_types = list(string)
    minimum        = number
    maximum        = number
    on_demand_base = number
    disk_gigabytes = number
    maximum_days   = optional(number, 30)
  }))

  validation {
    condition     = alltrue([for one in var.capacity : one.minimum <= one.maximum && length(one.instance_types) > 0])
    error_message = "Each capacity needs an instance type and a minimum that is not above its maximum."
  }

  validation {
    condition     = alltrue([for one in var.capacity : one.maximum_days >= 1 && one.maximum_days <= 365])
    error_message = "maximum_days is 1 to 365, the bounds of EC2 Auto Scaling."
  }
}

variable "fargate" {
  description = "Capacity providers of Fargate that tasks may name: FARGATE, FARGATE_SPOT."
  type        = list(string)
  default     = []
}

variable "default_capacity" {
  description = "Key of the capacity that takes tasks that name none."
  type        = string
}

variable "container_insights" {
  description = "Whether CloudWatch gathers metrics of each task, at 0.30 dollars a metric and month."
  type        = bool
}
