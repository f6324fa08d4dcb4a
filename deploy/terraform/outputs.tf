output "instance_id" {
  description = "The relay's instance."
  value       = aws_instance.relay.id
}

output "private_ip" {
  description = "The address that clients dial, and that backends see and admit."
  value       = aws_instance.relay.private_ip
}

output "security_group_id" {
  description = "The relay's security group, for rules of your own."
  value       = aws_security_group.relay.id
}

output "status_command" {
  description = "Shows whether the relay is ready, in a session: sudo natctl status."
  value       = "aws ssm start-session --target ${aws_instance.relay.id}"
}
