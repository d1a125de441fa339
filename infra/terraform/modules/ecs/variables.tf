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
  description = "Capacity providers by their suffix: the instance types that may stand in for each other, how many instances, how many of them always on demand (the rest is spot), and the disk of each."
  type = map(object({
    instance_types = list(string)
    minimum        = number
    maximum        = number
    on_demand_base = number
    disk_gigabytes = number
  }))

  validation {
    condition     = alltrue([for one in var.capacity : one.minimum <= one.maximum && length(one.instance_types) > 0])
    error_message = "Each capacity needs an instance type and a minimum that is not above its maximum."
  }
}

variable "default_capacity" {
  description = "Key of the capacity that takes tasks that name none."
  type        = string
}

variable "container_insights" {
  description = "Whether CloudWatch gathers metrics of each task, at 0.30 dollars a metric and month."
  type        = bool
}
