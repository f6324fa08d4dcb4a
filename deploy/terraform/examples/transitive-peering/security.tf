# What client and server may: the client calls the relay, the server is called by the relay's address, both reach
# Systems Manager. The server never sees the client's address.

resource "aws_security_group" "host" {
  for_each = local.hosts

  name_prefix = "${var.name}-${each.key}-"
  description = "natd example: ${each.key}"
  vpc_id      = aws_vpc.this[each.value].id
  tags        = merge(var.tags, { Name = "${var.name}-${each.key}" })
}

resource "aws_vpc_security_group_egress_rule" "client_to_relay" {
  security_group_id = aws_security_group.host["client"].id
  description       = "the relay"
  ip_protocol       = "tcp"
  from_port         = 80
  to_port           = 80
  cidr_ipv4         = "${var.networks["b"].host}/32"
}

resource "aws_vpc_security_group_ingress_rule" "server_from_relay" {
  security_group_id = aws_security_group.host["server"].id
  description       = "the relay"
  ip_protocol       = "tcp"
  from_port         = 80
  to_port           = 80
  cidr_ipv4         = "${var.networks["b"].host}/32"
}

resource "aws_vpc_security_group_ingress_rule" "fragmentation_needed" {
  for_each = local.hosts

  security_group_id = aws_security_group.host[each.key].id
  description       = "fragmentation needed"
  ip_protocol       = "icmp"
  from_port         = 3
  to_port           = 4
  cidr_ipv4         = var.networks["b"].vpc
}

resource "aws_vpc_security_group_egress_rule" "https" {
  for_each = local.hosts

  security_group_id = aws_security_group.host[each.key].id
  description       = "Systems Manager"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}
