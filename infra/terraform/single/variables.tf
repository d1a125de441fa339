variable "name" {
  description = "Beginning of the names of everything; a second box in the account gets another one."
  type        = string
  default     = "laurel"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,24}$", var.name))
    error_message = "name is 2 to 25 small letters, digits and hyphens, and begins with a letter: buckets are called by it."
  }

  validation {
    condition     = !can(regex("^(xn--|sthree-|amzn-s3-demo-)", var.name))
    error_message = "name does not begin with xn--, sthree- or amzn-s3-demo-: S3 keeps these for itself."
  }
}

variable "region" {
  description = "Region of AWS."
  type        = string
  default     = "us-east-1"
}

variable "repository" {
  description = "Git address (https) that the box clones Laurel from."
  type        = string

  validation {
    condition     = can(regex("^https://[A-Za-z0-9._/-]+$", var.repository))
    error_message = "repository is an https address without a name or password in it: whoever may describe the box reads its user data."
  }
}

variable "revision" {
  description = "Commit or tag of the repository that the box runs; a new one replaces the box, and the data stay."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._/-]*$", var.revision))
    error_message = "revision is a commit or a tag."
  }
}

variable "images" {
  description = "Images to pull, as in ECR repositories of this account; null: the box builds them from the repository."
  type = object({
    flows   = string
    serving = string
  })
  default = null

  validation {
    condition     = alltrue([for image in values(coalesce(var.images, {})) : can(regex("^[0-9]{12}\\.dkr\\.ecr\\.[a-z0-9-]+\\.amazonaws\\.com/[a-z0-9._/:@-]+$", image))])
    error_message = "Each image is one of ECR: 123456789012.dkr.ecr.us-east-1.amazonaws.com/laurel-flows:1.0."
  }
}

variable "instance_type" {
  description = "Type of the box, x86 or arm64; it needs 8 GB of memory for the whole stack and a training run beside it."
  type        = string
  default     = "t3.large"
}

variable "spot" {
  description = "Whether the box is a spot instance: a third of the price; when AWS takes it back it stops, and starts again with all its data."
  type        = bool
  default     = false
}

variable "subnet_id" {
  description = "Subnet of the box; null: the default VPC's in the zone."
  type        = string
  default     = null
}

variable "availability_zone" {
  description = "Zone of the box in the default VPC; null: the region's first. The data volume cannot follow into another one."
  type        = string
  default     = null
}

variable "public_ip" {
  description = "Whether the box has a public address to reach out from; false needs a NAT gateway or VPC endpoints in its subnet."
  type        = bool
  default     = true
}

variable "inbound" {
  description = "Ports that are open, to whom: 3000 (Grafana), 4200 (Prefect), 5000 (MLflow), 5001 (the service). They speak HTTP, without TLS."
  type = list(object({
    port  = number
    cidrs = list(string)
  }))
  default = []

  validation {
    condition     = alltrue([for rule in var.inbound : contains([3000, 4200, 5000, 5001], rule.port)])
    error_message = "On the box only 3000, 4200, 5000 and 5001 can be opened; nothing listens on another port."
  }

  validation {
    condition     = alltrue(flatten([for rule in var.inbound : [for cidr in rule.cidrs : can(cidrnetmask(cidr))]]))
    error_message = "Each of cidrs is a range of IPv4 addresses, such as 203.0.113.7/32."
  }

  validation {
    condition = var.inbound_from_anywhere || alltrue(flatten([
      for rule in var.inbound : [for cidr in rule.cidrs : try(tonumber(split("/", cidr)[1]) >= 8, false)]
    ]))
    error_message = "A range wider than /8 opens the port to the internet. If that is meant, say inbound_from_anywhere = true."
  }
}

variable "inbound_from_anywhere" {
  description = "Whether inbound may name 0.0.0.0/0 and other ranges wider than /8."
  type        = bool
  default     = false
}

variable "outbound_ports" {
  description = "TCP ports that the box may reach out to: packages, images and AWS itself; add a warehouse's."
  type        = list(number)
  default     = [80, 443]
}

variable "data_gigabytes" {
  description = "Size of the data volume: images, databases, logs. It can grow; the box widens its file system when it starts."
  type        = number
  default     = 60
}

variable "kms_key_arn" {
  description = "KMS key of disks and bucket; null: the account's own EBS key, and SSE-S3 for the bucket."
  type        = string
  default     = null
}

variable "restore_snapshot_id" {
  description = "Snapshot to make the data volume from; read only when the volume is made."
  type        = string
  default     = null
}

variable "snapshot_days" {
  description = "How many daily snapshots of the data volume are kept."
  type        = number
  default     = 14
}

variable "observability" {
  description = "Whether Prometheus and Grafana run on the box too."
  type        = bool
  default     = false
}

variable "alarm_email" {
  description = "Who is told when the box is ill or the budget is near; AWS asks that address for a confirmation. null: nobody."
  type        = string
  default     = null
}

variable "budget_usd" {
  description = "US dollars a month; at 80 per cent spent, and when more is foreseen, alarm_email is told. Of the whole account."
  type        = number
  default     = 120
}

variable "force_destroy" {
  description = "Whether terraform destroy deletes the bucket with all that is in it; false: it refuses while an object is there."
  type        = bool
  default     = false
}
