variable "name" {
  description = "Prefix of all names."
  type        = string
}

variable "vpc_id" {
  description = "VPC of the load balancer."
  type        = string
}

variable "subnets" {
  description = "Its subnets: public ones where it is public, private ones otherwise."
  type        = list(string)
}

variable "public" {
  description = "Whether it has an address on the internet."
  type        = bool
}

variable "allowed_cidrs" {
  description = "Address blocks that may call it, by a name for each."
  type        = map(string)
}

variable "clients" {
  description = "Security groups that may call it, by a name for each."
  type        = map(string)
}

variable "tasks" {
  description = "The service's tasks: the port that they listen on, whether each has an address of its own or the instance's, and the security group of these addresses."
  type = object({
    port           = number
    own_address    = bool
    security_group = string
  })
}

variable "certificate_arn" {
  description = "Certificate (ACM) for HTTPS; null: HTTP."
  type        = string
}

variable "protect" {
  description = "Whether it refuses to be deleted."
  type        = bool
}
