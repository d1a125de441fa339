variable "name" {
  description = "Prefix of all names."
  type        = string
}

variable "account_id" {
  description = "Number of the AWS account."
  type        = string
}

variable "region" {
  description = "Region of the metrics, for the dashboard."
  type        = string
}

variable "alarm_email" {
  description = "Address that gets the alarms, once it has confirmed; null: nobody, the topic alone."
  type        = string
}

variable "kms_key_arn" {
  description = "KMS key of the topic."
  type        = string
}

variable "cluster_name" {
  description = "Cluster of the services."
  type        = string
}

variable "services" {
  description = "Services of which one task at least must run; empty before the first image."
  type        = set(string)
}

variable "serving_log_groups" {
  description = "Log group of the model service, of whose lines predictions are counted; none before the first image."
  type        = list(string)
}

variable "balancer_label" {
  description = "Load balancer as its metrics name it."
  type        = string
}

variable "target_group_label" {
  description = "Target group as its metrics name it."
  type        = string
}

variable "dead_letter_queue" {
  description = "Name of the dead-letter queue."
  type        = string
}

variable "database" {
  description = "Name of the database instance."
  type        = string
}

variable "autoscaling_groups" {
  description = "Autoscaling groups, for the dashboard."
  type        = list(string)
}

variable "latency_seconds" {
  description = "Highest 99th percentile of the answer time."
  type        = number
}

variable "errors" {
  description = "Answers 5xx within five minutes from which on there is an alarm."
  type        = number
}

variable "no_prediction_minutes" {
  description = "Minutes without any prediction after which there is an alarm, a multiple of 5; 0: no such alarm."
  type        = number
}

variable "monthly_budget_dollars" {
  description = "Budget of the account in dollars a month: told at 80 % and 100 % of it, and when the forecast exceeds it."
  type        = number
}
