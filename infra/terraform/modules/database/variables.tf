variable "name" {
  description = "Prefix of all names."
  type        = string
}

variable "vpc_id" {
  description = "VPC of the database."
  type        = string
}

variable "subnets" {
  description = "Subnets without a route out of the VPC, in two zones."
  type        = list(string)
}

variable "clients" {
  description = "Security groups that may connect, by a name for each."
  type        = map(string)
}

variable "kms_key_arn" {
  description = "KMS key of the storage, the backups and the secret."
  type        = string
}

variable "instance_class" {
  description = "Size of the instance."
  type        = string

  validation {
    condition     = startswith(var.instance_class, "db.")
    error_message = "instance_class begins with db., as db.t4g.micro."
  }
}

variable "storage_gigabytes" {
  description = "Size of the disk; it grows by itself to five times that."
  type        = number

  validation {
    condition     = var.storage_gigabytes >= 20
    error_message = "storage_gigabytes is at least 20, the smallest disk of type gp3."
  }
}

variable "multi_az" {
  description = "Whether a second instance stands by in the other zone, for twice the price."
  type        = bool
}

variable "backup_days" {
  description = "Days of backups, to any second of which the database can be restored."
  type        = number

  validation {
    condition     = var.backup_days >= 1 && var.backup_days <= 35
    error_message = "backup_days is 1 to 35."
  }
}

variable "protect" {
  description = "Whether the database refuses to be deleted, and leaves a last snapshot when it is."
  type        = bool
}

variable "secrets_version" {
  description = "Number of the password; another one makes a new password at the next apply."
  type        = number
}

variable "secret_recovery_days" {
  description = "Days that a deleted secret can be brought back; 0: none."
  type        = number
}

variable "log_retention_days" {
  description = "Days that the database's logs are kept."
  type        = number
}
