output "vpc_id" {
  description = "Id of the VPC."
  value       = aws_vpc.main.id
}

output "cidr" {
  description = "Addresses of the VPC."
  value       = aws_vpc.main.cidr_block
}

output "public_subnets" {
  description = "Subnets with a route from the internet: NAT gateways and, where it is public, the load balancer."
  value       = aws_subnet.public[*].id
  depends_on  = [aws_route.internet, aws_route_table_association.public]
}

output "private_subnets" {
  description = "Subnets of instances and tasks: a way out through NAT, none in."
  value       = aws_subnet.private[*].id
  # An instance that starts before the way out is there never joins the cluster.
  depends_on = [aws_route.out, aws_route_table_association.private, aws_vpc_endpoint.s3]
}

output "database_subnets" {
  description = "Subnets without any route out of the VPC."
  value       = aws_subnet.database[*].id
}

output "nat_addresses" {
  description = "Public addresses from which the stack's requests to the internet come."
  value       = aws_eip.nat[*].public_ip
}
