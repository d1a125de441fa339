variable "name" {
  description = "Prefix of all names; two stacks of an account need two."
  type        = string
  default     = "laurel"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.name))
    error_message = "name is 3 to 20 lower-case letters, digits and hyphens, a letter first: load balancers and databases take no other."
  }

  validation {
    condition     = !can(regex("--|^(aws|ecs|fargate|ssm|internal-|xn--|sthree-|amzn-s3-demo-)", var.name))
    error_message = "name has no two hyphens in a row (databases), and does not begin with aws, ecs or fargate (capacity providers), ssm (parameters), internal- (load balancers), xn--, sthree- or amzn-s3-demo- (buckets): AWS keeps these for itself."
  }
}

variable "region" {
  description = "AWS region."
  type        = string
  default     = "us-east-1"
}

variable "tags" {
  description = "Tags of everything, beside laurel = name."
  type        = map(string)
  default     = {}
}

variable "image_tag" {
  description = "Tag of the images to run, which must have been pushed: that of laurel-flows, and of the others unless they have their own. Empty: no service runs, as before the first push."
  type        = string
  default     = ""

  validation {
    condition     = var.image_tag != "latest"
    error_message = "image_tag names one build, as a commit does; tags in the repositories cannot be moved."
  }
}

variable "servers_image_tag" {
  description = "Tag of the image laurel-flows that Prefect, MLflow and the worker run; empty: image_tag. With its own tag, a change of a use case alone does not restart them."
  type        = string
  default     = ""

  validation {
    condition     = var.servers_image_tag != "latest"
    error_message = "servers_image_tag names one build; tags in the repositories cannot be moved."
  }
}

variable "serving_image_tag" {
  description = "Tag of the image laurel-serving; empty: image_tag."
  type        = string
  default     = ""

  validation {
    condition     = var.serving_image_tag != "latest"
    error_message = "serving_image_tag names one build; tags in the repositories cannot be moved."
  }
}

variable "use_cases" {
  description = "Use cases that the model service serves. \"*\": all that have a model, new ones without an apply; a name before it is the default of /invocations."
  type        = list(string)
  default     = ["*"]

  validation {
    condition     = length(var.use_cases) > 0 && alltrue([for name in var.use_cases : can(regex("^([*]|[a-z][a-z0-9_]*)$", name))])
    error_message = "use_cases are names of files in usecases/, or \"*\" for all of them; at least one."
  }
}

variable "cidr" {
  description = "Addresses of the VPC, a /16 that overlaps with no network that it is to be connected with."
  type        = string
  default     = "10.20.0.0/16"
}

variable "nat_gateways" {
  description = "NAT gateways: 1 for both zones, or 2, one in each zone, so that the loss of a zone leaves the other connected."
  type        = number
  default     = 1
}

variable "public" {
  description = "Whether the load balancer of the model service has an address on the internet; false: it is reached from the VPC alone."
  type        = bool
  default     = false
}

variable "allowed_cidrs" {
  description = "Address blocks that may call the model service, beside the stack itself. Callers show a key all the same."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for block in var.allowed_cidrs : can(cidrnetmask(block))])
    error_message = "allowed_cidrs are IPv4 blocks, as 203.0.113.0/24."
  }

  validation {
    condition     = var.certificate_arn != null || alltrue([for block in var.allowed_cidrs : !endswith(block, "/0")])
    error_message = "Without a certificate the service speaks HTTP, and keys could be read on the way: list your own addresses, or set certificate_arn."
  }
}

variable "certificate_arn" {
  description = "Certificate of ACM for HTTPS; null: HTTP, for listed addresses only."
  type        = string
  default     = null

  validation {
    condition     = var.certificate_arn == null || var.domain_name != null
    error_message = "With certificate_arn set domain_name to the name in the certificate, and let it point to the output balancer_host."
  }
}

variable "domain_name" {
  description = "Name in the certificate, by which the model service is called; a DNS record of yours points from it to the load balancer."
  type        = string
  default     = null
}

variable "service_instance_types" {
  description = "Instance types that services run on, in order of wish; x86-64, with 2 vCPU and 4 GB or more."
  type        = list(string)
  default     = ["t3.medium", "t3a.medium"]
}

variable "service_instances" {
  description = "Instances for the services: at least, at most, and how many of them on demand and not spot."
  type = object({
    minimum        = number
    maximum        = number
    on_demand_base = number
  })
  default = { minimum = 2, maximum = 6, on_demand_base = 2 }
}

variable "flow_instance_types" {
  description = "Instance types that flow runs may run on; the more of them, the seldomer spot instances are taken away."
  type        = list(string)
  default     = ["m6i.large", "m6a.large", "m5.large", "m5a.large"]
}

variable "flow_instances" {
  description = "Instances for flow runs: they grow from zero and shrink to zero; all are spot but the first on_demand_base."
  type = object({
    maximum        = number
    on_demand_base = number
  })
  default = { maximum = 8, on_demand_base = 0 }

  validation {
    condition     = var.flow_instances.maximum >= 1 && var.flow_instances.on_demand_base <= var.flow_instances.maximum
    error_message = "flow_instances.maximum is at least 1, and not below on_demand_base."
  }
}

variable "fargate" {
  description = "What runs on Fargate and not on instances: flows (each flow run) and serving (the model service), each by a capacity provider of Fargate's, FARGATE or FARGATE_SPOT; null: on instances."
  type = object({
    flows   = optional(string)
    serving = optional(string)
  })
  default = {}

  validation {
    condition     = alltrue([for provider in values(var.fargate) : provider == null || contains(["FARGATE", "FARGATE_SPOT"], coalesce(provider, "FARGATE"))])
    error_message = "fargate.flows and fargate.serving are FARGATE or FARGATE_SPOT."
  }
}

variable "serving" {
  description = "The model service: its share of a core (1024 is one) and memory (MiB) a task (on Fargate the next size that there is), the number of tasks at least and at most, and the load to which autoscaling keeps each task."
  type = object({
    cpu                        = number
    memory                     = number
    minimum                    = number
    maximum                    = number
    requests_per_task_a_minute = number
    cpu_percent                = number
  })
  default = { cpu = 512, memory = 768, minimum = 2, maximum = 6, requests_per_task_a_minute = 6000, cpu_percent = 60 }

  validation {
    condition     = var.serving.minimum >= 1 && var.serving.minimum <= var.serving.maximum
    error_message = "serving.minimum is at least 1 and not above serving.maximum."
  }
}

variable "database" {
  description = "PostgreSQL: instance class, size of the disk, a standby in the other zone, days of backups."
  type = object({
    instance_class    = string
    storage_gigabytes = number
    multi_az          = bool
    backup_days       = number
  })
  default = { instance_class = "db.t4g.micro", storage_gigabytes = 20, multi_az = false, backup_days = 7 }
}

variable "protect" {
  description = "Whether database, lake, load balancer and image repositories refuse to be deleted with what they hold. Set false, apply, and destroy works."
  type        = bool
  default     = true
}

variable "secrets_version" {
  description = "Number of all passwords and keys; another one makes new ones at the next apply, and starts the services anew with them."
  type        = number
  default     = 1
}

variable "slack_token_secret_arn" {
  description = "Secret that you made with Slack's bot token; null: messages go to the runs' logs."
  type        = string
  default     = null
}

variable "slack_signing_secret_arn" {
  description = "Secret that you made with Slack's signing secret; null: messages have no buttons."
  type        = string
  default     = null
}

variable "slack_channel" {
  description = "Slack channel, by name or id."
  type        = string
  default     = "#ml"
}

variable "slack_language" {
  description = "Language of messages: en or ko."
  type        = string
  default     = "en"

  validation {
    condition     = contains(["en", "ko"], var.slack_language)
    error_message = "slack_language must be en or ko."
  }
}

variable "search_workers" {
  description = "Workers of a Dask cluster that fit the trials of searches, each with a core and that much memory in MiB, on the instances of flow runs; the image must have the extra dask. 0: none, and no scheduler. A service that is there is scaled by aws ecs update-service."
  type = object({
    count  = number
    memory = number
  })
  default = { count = 0, memory = 3072 }

  validation {
    condition     = var.search_workers.count >= 0 && var.search_workers.count <= 1000 && floor(var.search_workers.count) == var.search_workers.count
    error_message = "search_workers.count is a whole number from 0 to 1000."
  }

  validation {
    condition     = var.search_workers.memory >= 1024 && floor(var.search_workers.memory) == var.search_workers.memory
    error_message = "search_workers.memory is 1024 MiB or more: the libraries alone take some 500."
  }
}

variable "keep_days" {
  description = "Days that the flow tidy keeps things, by kind: results, report_pages, runs, predictions, challengers, studies; 0: forever. Those that are not named have the defaults of docs/settings.md."
  type        = map(number)
  default     = {}

  validation {
    condition = alltrue([
      for kind, days in var.keep_days :
      contains(["results", "report_pages", "runs", "predictions", "challengers", "studies"], kind) && days >= 0 && floor(days) == days
    ])
    error_message = "keep_days has whole numbers of days for results, report_pages, runs, predictions, challengers and studies."
  }
}

variable "log_retention_days" {
  description = "Days that logs are kept in CloudWatch."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827, 3653], var.log_retention_days)
    error_message = "CloudWatch keeps logs for 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827 or 3653 days."
  }
}

variable "container_insights" {
  description = "Whether CloudWatch gathers metrics of each task, at 0.30 dollars a metric and month; no alarm needs them."
  type        = bool
  default     = false
}

variable "alarm_email" {
  description = "Address that gets alarms and the budget's warnings, once it has confirmed; null: the SNS topic alone."
  type        = string
  default     = null
}

variable "alarms" {
  description = "Bounds of the alarms: seconds of the slowest 1 % of answers, answers 5xx in five minutes, minutes without a prediction (0: no such alarm)."
  type = object({
    latency_seconds       = number
    errors                = number
    no_prediction_minutes = number
  })
  default = { latency_seconds = 0.5, errors = 10, no_prediction_minutes = 60 }

  # CloudWatch looks back over a day at most.
  validation {
    condition     = var.alarms.no_prediction_minutes >= 0 && var.alarms.no_prediction_minutes <= 1440 && var.alarms.no_prediction_minutes % 5 == 0
    error_message = "alarms.no_prediction_minutes is a multiple of 5 up to 1440 (a day), or 0."
  }

  validation {
    condition     = var.alarms.latency_seconds > 0 && var.alarms.errors >= 1
    error_message = "alarms.latency_seconds is above 0, and alarms.errors at least 1."
  }
}

variable "monthly_budget_dollars" {
  description = "Budget of the whole account in dollars a month; at 80 %, at 100 %, and when the forecast exceeds it, you are told."
  type        = number
  default     = 300

  validation {
    condition     = var.monthly_budget_dollars > 0
    error_message = "monthly_budget_dollars is above 0."
  }
}

variable "github" {
  description = "GitHub repository (owner/name) whose jobs deploy, the environments that guard deployment and training, the account's OIDC provider for GitHub where there is one, and the IAM policies of roles for Terraform in jobs, by plan and apply; null: none of it."
  type = object({
    repository            = string
    environment           = optional(string, "production")
    training_environment  = optional(string, "training")
    provider_arn          = optional(string)
    terraform_policy_arns = optional(map(list(string)), {})
  })
  default = null
}
