variable "name" {
  description = "Prefix of all names."
  type        = string
}

variable "account_id" {
  description = "Number of the AWS account, which administers the key."
  type        = string
}

variable "region" {
  description = "Region of the stack; CloudWatch Logs of that region may use the key."
  type        = string
}
