variable "name" {
  description = "Prefix of all names."
  type        = string
}

variable "cidr" {
  description = "Addresses of the VPC, a /16."
  type        = string

  validation {
    condition     = can(cidrnetmask(var.cidr)) && endswith(var.cidr, "/16")
    error_message = "cidr is an IPv4 block of size /16, as 10.20.0.0/16."
  }
}

variable "zones" {
  description = "The two availability zones."
  type        = list(string)

  validation {
    condition     = length(var.zones) == 2
    error_message = "zones are two: load balancer and database need two, and a third costs without use here."
  }
}

variable "nat_gateways" {
  description = "NAT gateways: 1 for both zones, or 2, one in each zone, so that the loss of a zone leaves the other connected."
  type        = number

  validation {
    condition     = contains([1, 2], var.nat_gateways)
    error_message = "nat_gateways is 1 or 2."
  }
}

variable "kms_key_arn" {
  description = "KMS key of the flow log."
  type        = string
}

variable "log_retention_days" {
  description = "Days that the log of refused connections is kept."
  type        = number
}

variable "region" {
  description = "Region of the VPC, for the S3 endpoint."
  type        = string
}
