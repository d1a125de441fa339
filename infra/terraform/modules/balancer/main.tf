# The load balancer before the model service. HTTPS with a certificate; without one, HTTP for the addresses that are listed.

locals {
  https = var.certificate_arn != null
  port  = local.https ? 443 : 80

  # On an instance Docker gives each task a port from the range of short-lived ones.
  ports = var.tasks.own_address ? [var.tasks.port, var.tasks.port] : [32768, 65535]
}

resource "aws_security_group" "main" {
  name        = "${var.name}-balancer"
  description = "Load balancer of the model service"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "listed" {
  # checkov:skip=CKV_AWS_260:The blocks are the user's; the stack refuses 0.0.0.0/0 without a certificate
  for_each          = var.allowed_cidrs
  security_group_id = aws_security_group.main.id
  description       = "Callers of the model service: ${each.key}"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = local.port
  to_port           = local.port
}

resource "aws_vpc_security_group_ingress_rule" "client" {
  for_each                     = var.clients
  security_group_id            = aws_security_group.main.id
  description                  = "From ${each.key}"
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
}

resource "aws_vpc_security_group_egress_rule" "tasks" {
  security_group_id            = aws_security_group.main.id
  description                  = "Tasks of the model service"
  referenced_security_group_id = var.tasks.security_group
  ip_protocol                  = "tcp"
  from_port                    = local.ports[0]
  to_port                      = local.ports[1]
}

resource "aws_vpc_security_group_ingress_rule" "tasks" {
  security_group_id            = var.tasks.security_group
  description                  = "Model service, from the load balancer"
  referenced_security_group_id = aws_security_group.main.id
  ip_protocol                  = "tcp"
  from_port                    = local.ports[0]
  to_port                      = local.ports[1]
}

resource "aws_lb" "main" {
  # checkov:skip=CKV_AWS_91:The service itself logs each request, with the name of its key, to CloudWatch; a second log would need a bucket without KMS
  # checkov:skip=CKV_AWS_150:Deletion protection is the variable protect, on by default
  # checkov:skip=CKV2_AWS_28:Callers are listed by address and show a key; a web application firewall is 5 dollars a month and rule, for those who open it to all
  # checkov:skip=CKV2_AWS_20:Without a certificate there is nothing to redirect to; with one only 443 is open
  name                       = var.name
  internal                   = !var.public
  load_balancer_type         = "application"
  subnets                    = var.subnets
  security_groups            = [aws_security_group.main.id]
  drop_invalid_header_fields = true
  enable_deletion_protection = var.protect
  idle_timeout               = 60
  depends_on                 = [aws_vpc_security_group_egress_rule.tasks]
}

resource "aws_lb_target_group" "serving" {
  # checkov:skip=CKV_AWS_378:TLS ends at the load balancer; behind it the request stays between two security groups of the VPC
  name_prefix                   = "serve-"
  vpc_id                        = var.vpc_id
  port                          = var.tasks.port
  protocol                      = "HTTP"
  target_type                   = var.tasks.own_address ? "ip" : "instance"
  deregistration_delay          = 30
  load_balancing_algorithm_type = "least_outstanding_requests"

  health_check {
    path                = "/health"
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb_listener" "main" {
  # checkov:skip=CKV_AWS_2:HTTPS where certificate_arn is given; else HTTP for listed addresses only
  # checkov:skip=CKV_AWS_103:The same: TLS 1.2 or newer with a certificate
  load_balancer_arn = aws_lb.main.arn
  port              = local.port
  protocol          = local.https ? "HTTPS" : "HTTP"
  certificate_arn   = var.certificate_arn
  ssl_policy        = local.https ? "ELBSecurityPolicy-TLS13-1-2-2021-06" : null

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.serving.arn
  }
}
