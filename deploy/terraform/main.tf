# One natd relay: an instance with a fixed address, its security group, its role and its configuration.

data "aws_subnet" "relay" {
  id = var.subnet_id
}

data "aws_ec2_instance_type" "relay" {
  instance_type = var.instance_type
}

data "aws_ssm_parameter" "image" {
  count = var.ami == null ? 1 : 0

  name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-${local.architecture}"
}

data "aws_partition" "current" {}

locals {
  architecture = one([for name in data.aws_ec2_instance_type.relay.supported_architectures : name if name != "i386"])
  from_bucket  = startswith(var.package_url, "s3://")

  config = var.config != null ? var.config : join("\n", [for name, relay in var.relays : <<-TOML
    [[relay]]
    name     = ${jsonencode(name)}
    listen   = "${var.private_ip}:${relay.port}"
    protocol = "${relay.protocol}"
    from     = ${jsonencode(relay.from)}
    to       = [${jsonencode(relay.to)}]
    TOML
  ])

  # The settings of user-data.sh, quoted for the shell, and the script word for word.
  settings = {
    PACKAGE_URL    = var.package_url
    PACKAGE_SHA256 = var.package_sha256
    NATD_CONFIG    = local.config
  }
  user_data = join("\n", concat(
    ["#!/bin/bash"],
    [for name, value in local.settings : "${name}='${replace(value, "'", "'\\''")}'"],
    [file("${path.module}/../user-data.sh")],
  ))

  # One rule for each relay and network.
  clients = merge([for name, relay in var.relays : {
    for network in relay.from : "${name} ${network}" => {
      protocol = relay.protocol
      port     = relay.port
      network  = replace(network, "/^[^/]+$/", "$0/32") # an address alone
    }
  }]...)
}

resource "aws_security_group" "relay" {
  name_prefix = "${var.name}-"
  description = "natd relay: the ports of its relays, and nothing else"
  vpc_id      = var.vpc_id
  tags        = merge(var.tags, { Name = var.name })

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "client" {
  for_each = local.clients

  security_group_id = aws_security_group.relay.id
  description       = each.key
  ip_protocol       = each.value.protocol
  from_port         = each.value.port
  to_port           = each.value.port
  cidr_ipv4         = each.value.network
  tags              = var.tags
}

# Fragmentation needed (ICMP type 3 code 4), so that path MTU discovery works.
resource "aws_vpc_security_group_ingress_rule" "fragmentation_needed" {
  security_group_id = aws_security_group.relay.id
  description       = "fragmentation needed"
  ip_protocol       = "icmp"
  from_port         = 3
  to_port           = 4
  cidr_ipv4         = "0.0.0.0/0"
  tags              = var.tags
}

resource "aws_vpc_security_group_egress_rule" "backend" {
  for_each = var.relays

  security_group_id = aws_security_group.relay.id
  description       = each.key
  ip_protocol       = each.value.protocol
  from_port         = tonumber(split(":", each.value.to)[1])
  to_port           = tonumber(split(":", each.value.to)[1])
  cidr_ipv4         = "${split(":", each.value.to)[0]}/32"
  tags              = var.tags
}

resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.relay.id
  description       = "Systems Manager and the package"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
  tags              = var.tags
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "relay" {
  name_prefix        = "${var.name}-"
  description        = "natd relay: reached by Session Manager, reads its package"
  assume_role_policy = data.aws_iam_policy_document.assume.json
  tags               = var.tags
}

resource "aws_iam_role_policy_attachment" "session" {
  role       = aws_iam_role.relay.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

data "aws_iam_policy_document" "package" {
  statement {
    actions   = ["s3:GetObject"]
    resources = ["arn:${data.aws_partition.current.partition}:s3:::${replace(trimprefix(var.package_url, "s3://"), "{arch}", "*")}"]
  }
}

resource "aws_iam_role_policy" "package" {
  count = local.from_bucket ? 1 : 0

  name   = "package"
  role   = aws_iam_role.relay.id
  policy = data.aws_iam_policy_document.package.json
}

resource "aws_iam_instance_profile" "relay" {
  name_prefix = "${var.name}-"
  role        = aws_iam_role.relay.name
  tags        = var.tags
}

resource "aws_instance" "relay" {
  ami                         = var.ami == null ? data.aws_ssm_parameter.image[0].insecure_value : var.ami
  instance_type               = var.instance_type
  subnet_id                   = var.subnet_id
  private_ip                  = var.private_ip
  associate_public_ip_address = var.public_ip
  vpc_security_group_ids      = [aws_security_group.relay.id]
  iam_instance_profile        = aws_iam_instance_profile.relay.name
  user_data                   = local.user_data
  user_data_replace_on_change = false
  tags                        = merge(var.tags, { Name = var.name })

  # In every packet of a relayed connection the relay's end is its own address: the check may stay on.
  source_dest_check = true

  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    volume_type = "gp3"
    encrypted   = true
  }

  lifecycle {
    # The address is fixed, so another image would mean an interruption: taint the instance when you want it. And new
    # user-data would stop and start the instance without being run: change the configuration on the host.
    ignore_changes = [ami, user_data]

    precondition {
      condition     = local.from_bucket || var.package_sha256 != ""
      error_message = "A package from https:// needs package_sha256."
    }

    precondition {
      condition     = var.config != null || length(var.relays) > 0
      error_message = "Without relays or config there is nothing to relay."
    }

    precondition {
      condition     = cidrsubnet("${var.private_ip}/${split("/", data.aws_subnet.relay.cidr_block)[1]}", 0, 0) == data.aws_subnet.relay.cidr_block
      error_message = "private_ip is not in the subnet."
    }

    # "Run commands when you launch an EC2 instance with user data input", EC2 user guide.
    precondition {
      condition     = length(local.user_data) <= 16384
      error_message = "The user-data has more than the 16 KiB that EC2 takes: shorten relays or config."
    }
  }

  # The way to the package must stand when user-data runs.
  depends_on = [
    aws_iam_role_policy.package,
    aws_vpc_security_group_egress_rule.https,
  ]
}
