# Nobody reaches the box but through Session Manager, which the box itself calls, and through the ports that `inbound` lists.

resource "aws_security_group" "box" {
  name        = "${var.name}-box"
  description = "Laurel's box: in by the listed ports only, out to packages, images and AWS"
  vpc_id      = data.aws_subnet.box.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "listed" {
  for_each = merge([for rule in var.inbound : { for cidr in rule.cidrs : "${rule.port} from ${cidr}" => { port = rule.port, cidr = cidr } }]...)

  security_group_id = aws_security_group.box.id
  description       = each.key
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
  cidr_ipv4         = each.value.cidr
}

resource "aws_vpc_security_group_egress_rule" "out" {
  for_each = toset([for port in var.outbound_ports : tostring(port)])

  security_group_id = aws_security_group.box.id
  description       = "Packages, images and AWS by port ${each.key}"
  ip_protocol       = "tcp"
  from_port         = tonumber(each.key)
  to_port           = tonumber(each.key)
  cidr_ipv4         = "0.0.0.0/0"
}
