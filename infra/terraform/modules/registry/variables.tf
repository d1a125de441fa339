variable "repositories" {
  description = "Names of the image repositories."
  type        = set(string)
}

variable "kms_key_arn" {
  description = "KMS key that encrypts the images."
  type        = string
}

variable "keep_images" {
  description = "Images that each repository keeps; older ones are deleted. The ones to roll back to must be among them."
  type        = number

  validation {
    condition     = var.keep_images >= 5
    error_message = "keep_images is at least 5: services must find the images to roll back to."
  }
}

variable "force_destroy" {
  description = "Whether terraform destroy deletes repositories that hold images."
  type        = bool
}
