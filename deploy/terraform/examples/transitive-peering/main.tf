# A client in VPC A reaches a web server in VPC C, to which it has neither route nor peering, by the relay in VPC B.

module "relay" {
  source = "../.."

  name           = "${var.name}-relay"
  vpc_id         = aws_vpc.this["b"].id
  subnet_id      = aws_route_table_association.this["b"].subnet_id # user-data needs the way out
  private_ip     = var.networks["b"].host
  public_ip      = true
  instance_type  = var.instance_type
  package_url    = var.package_url
  package_sha256 = var.package_sha256
  tags           = var.tags

  relays = {
    web = {
      port = 80
      from = [var.networks["a"].vpc]
      to   = "${var.networks["c"].host}:80"
    }
  }
}

data "aws_ec2_instance_type" "host" {
  instance_type = var.instance_type
}

data "aws_ssm_parameter" "image" {
  name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-${local.architecture}"
}

data "aws_partition" "current" {}

locals {
  architecture = one([for name in data.aws_ec2_instance_type.host.supported_architectures : name if name != "i386"])
  hosts        = { client = "a", server = "c" }

  # The Python of the image serves the page: nothing to install, and there again after a reboot.
  user_data = {
    client = null
    server = <<-BASH
      #!/bin/bash
      cat >/usr/local/lib/whom.py <<'END'
      """Tells who calls which host this is, and whom it saw."""
      import http.server
      import socket

      class Page(http.server.BaseHTTPRequestHandler):
          def do_GET(self):
              here, caller = self.connection.getsockname()[0], self.client_address[0]
              text = f"I am {socket.gethostname()}, {here}, and I saw {caller}\n".encode()
              self.send_response(200)
              self.send_header("Content-Type", "text/plain")
              self.send_header("Content-Length", str(len(text)))
              self.end_headers()
              self.wfile.write(text)

      http.server.ThreadingHTTPServer(("", 80), Page).serve_forever()
      END
      cat >/etc/systemd/system/whom.service <<'END'
      [Unit]
      Description=A web page that tells whom it saw
      [Service]
      ExecStart=/usr/bin/python3 /usr/local/lib/whom.py
      DynamicUser=yes
      AmbientCapabilities=CAP_NET_BIND_SERVICE
      Restart=always
      [Install]
      WantedBy=multi-user.target
      END
      systemctl daemon-reload
      systemctl enable --now whom.service
    BASH
  }
}

resource "aws_instance" "host" {
  for_each = local.hosts

  ami                         = data.aws_ssm_parameter.image.insecure_value
  instance_type               = var.instance_type
  subnet_id                   = aws_subnet.this[each.value].id
  private_ip                  = var.networks[each.value].host
  associate_public_ip_address = true
  vpc_security_group_ids      = [aws_security_group.host[each.key].id]
  iam_instance_profile        = aws_iam_instance_profile.host.name
  user_data                   = local.user_data[each.key]
  tags                        = merge(var.tags, { Name = "${var.name}-${each.key}" })

  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    volume_type = "gp3"
    encrypted   = true
  }

  lifecycle {
    ignore_changes = [ami]
  }

  depends_on = [aws_route_table_association.this]
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

resource "aws_iam_role" "host" {
  name_prefix        = "${var.name}-"
  description        = "Client and server of the natd example, reached by Session Manager"
  assume_role_policy = data.aws_iam_policy_document.assume.json
  tags               = var.tags
}

resource "aws_iam_role_policy_attachment" "session" {
  role       = aws_iam_role.host.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

resource "aws_iam_instance_profile" "host" {
  name_prefix = "${var.name}-"
  role        = aws_iam_role.host.name
  tags        = var.tags
}
