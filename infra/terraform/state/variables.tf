variable "name" {
  description = "Beginning of the bucket's name."
  type        = string
  default     = "laurel"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,24}$", var.name)) && !can(regex("^(xn--|sthree-|amzn-s3-demo-)", var.name))
    error_message = "name is 2 to 25 small letters, digits and hyphens, begins with a letter, and not with xn--, sthree- or amzn-s3-demo-: a bucket is called by it."
  }
}

variable "region" {
  description = "Region of AWS."
  type        = string
  default     = "us-east-1"
}
