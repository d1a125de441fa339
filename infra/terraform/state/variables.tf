variable "name" {
  description = "Beginning of the bucket's name."
  type        = string
  default     = "laurel"
}

variable "region" {
  description = "Region of AWS."
  type        = string
  default     = "us-east-1"
}
