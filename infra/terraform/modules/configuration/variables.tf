variable "name" {
  description = "Prefix of all names: parameters are /<name>/config/<variable>, secrets <name>/<secret>."
  type        = string
}

variable "parameters" {
  description = "Configuration by the environment variable that it becomes. Never a secret."
  type        = map(string)
}

variable "secrets" {
  description = "Secrets to make: name -> what stands before the random part (as \"laurel:\"), or nothing."
  type        = map(string)
}

variable "secrets_version" {
  description = "Number of the secrets; another one makes all of them new at the next apply."
  type        = number
}

variable "recovery_days" {
  description = "Days that a deleted secret can be brought back; 0: none."
  type        = number
}

variable "kms_key_arn" {
  description = "KMS key of the secrets."
  type        = string
}
