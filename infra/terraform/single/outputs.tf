output "instance_id" {
  description = "The box."
  value       = aws_instance.box.id
}

output "volume_id" {
  description = "The data volume."
  value       = aws_ebs_volume.data.id
}

output "lake" {
  description = "The lake, as LAUREL_LAKE has it on the box."
  value       = module.lake.url
}

output "shell" {
  description = "Command for a shell on the box (needs the Session Manager plugin of the AWS command line)."
  value       = "aws ssm start-session --region ${var.region} --target ${aws_instance.box.id}"
}

output "tunnels" {
  description = "Commands that bring a page to this machine: each leaves it on the same port of localhost while it runs."
  value = { for page, port in { prefect = 4200, mlflow = 5000, serving = 5001, grafana = 3000 } : page => join(" ", [
    "aws ssm start-session --region ${var.region} --target ${aws_instance.box.id}",
    "--document-name AWS-StartPortForwardingSession",
    "--parameters portNumber=${port},localPortNumber=${port}",
  ]) }
}
