output "try_it" {
  description = "A shell on the client; in it: curl the address of the relay."
  value       = "aws ssm start-session --target ${aws_instance.host["client"].id}    # then: curl http://${module.relay.private_ip}/"
}

output "relay_session" {
  description = "A shell on the relay; in it: sudo natctl status."
  value       = module.relay.status_command
}

output "server_session" {
  description = "A shell on the web server."
  value       = "aws ssm start-session --target ${aws_instance.host["server"].id}"
}
