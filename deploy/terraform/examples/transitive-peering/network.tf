# Three VPCs, A peered with B and B with C. Nothing joins A and C. Each has an internet gateway, by which its instance
# reaches Systems Manager; endpoints would do as well.

resource "aws_vpc" "this" {
  for_each = var.networks

  cidr_block           = each.value.vpc
  enable_dns_hostnames = true
  tags                 = merge(var.tags, { Name = "${var.name}-${each.key}" })
}

resource "aws_subnet" "this" {
  for_each = var.networks

  vpc_id     = aws_vpc.this[each.key].id
  cidr_block = each.value.subnet
  tags       = merge(var.tags, { Name = "${var.name}-${each.key}" })
}

resource "aws_internet_gateway" "this" {
  for_each = var.networks

  vpc_id = aws_vpc.this[each.key].id
  tags   = merge(var.tags, { Name = "${var.name}-${each.key}" })
}

resource "aws_route_table" "this" {
  for_each = var.networks

  vpc_id = aws_vpc.this[each.key].id
  tags   = merge(var.tags, { Name = "${var.name}-${each.key}" })
}

# After the route, so that a subnet that has its table has the way out. A depends_on of the module would say the same, and
# put off what the module reads, which plans a replacement of what stands.
resource "aws_route_table_association" "this" {
  for_each = var.networks

  subnet_id      = aws_subnet.this[each.key].id
  route_table_id = aws_route.internet[each.key].route_table_id
}

resource "aws_route" "internet" {
  for_each = var.networks

  route_table_id         = aws_route_table.this[each.key].id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this[each.key].id
}

resource "aws_vpc_peering_connection" "this" {
  for_each = toset(["a", "c"])

  vpc_id      = aws_vpc.this["b"].id
  peer_vpc_id = aws_vpc.this[each.key].id
  auto_accept = true
  tags        = merge(var.tags, { Name = "${var.name}-b-${each.key}" })
}

resource "aws_route" "to_b" {
  for_each = aws_vpc_peering_connection.this

  route_table_id            = aws_route_table.this[each.key].id
  destination_cidr_block    = var.networks["b"].vpc
  vpc_peering_connection_id = each.value.id
}

resource "aws_route" "from_b" {
  for_each = aws_vpc_peering_connection.this

  route_table_id            = aws_route_table.this["b"].id
  destination_cidr_block    = var.networks[each.key].vpc
  vpc_peering_connection_id = each.value.id
}
