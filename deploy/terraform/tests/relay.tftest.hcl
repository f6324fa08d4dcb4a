# Plans and applies the module with no AWS behind it: terraform init && terraform test (Terraform 1.7 or later).

mock_provider "aws" {
  mock_data "aws_ec2_instance_type" {
    defaults = {
      supported_architectures = ["arm64"]
    }
  }
  mock_data "aws_subnet" {
    defaults = {
      cidr_block = "10.2.0.0/24"
    }
  }
  mock_data "aws_partition" {
    defaults = {
      partition = "aws"
    }
  }
  mock_data "aws_iam_policy_document" {
    defaults = {
      json = "{}"
    }
  }
}

variables {
  vpc_id      = "vpc-0123456789abcdef0"
  subnet_id   = "subnet-0123456789abcdef0"
  private_ip  = "10.2.0.100"
  package_url = "s3://packages/natd-0.3.0-1.{arch}.rpm"
  relays = {
    web = { port = 80, from = ["10.1.0.0/16"], to = "10.3.0.100:8080" }
    dns = { port = 53, from = ["10.1.0.0/24", "10.1.8.0/24"], to = "10.3.0.53:53", protocol = "udp" }
  }
}

run "a_package_from_a_bucket" {
  assert {
    condition     = endswith(aws_instance.relay.user_data, file("../user-data.sh"))
    error_message = "The user-data does not end with user-data.sh, word for word."
  }
  assert {
    condition     = strcontains(aws_instance.relay.user_data, "listen   = \"10.2.0.100:80\"")
    error_message = "The configuration does not listen on the instance's address."
  }
  assert {
    condition     = length(aws_instance.relay.user_data) < 16384
    error_message = "EC2 takes 16 KiB of user-data."
  }
  assert {
    condition     = aws_instance.relay.source_dest_check && aws_instance.relay.metadata_options[0].http_tokens == "required"
    error_message = "The instance must keep its source/destination check and ask for IMDSv2."
  }
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.client) == 3
    error_message = "There is not one rule for each relay and network."
  }
  assert {
    condition     = aws_vpc_security_group_egress_rule.backend["web"].from_port == 8080 && aws_vpc_security_group_egress_rule.backend["web"].cidr_ipv4 == "10.3.0.100/32"
    error_message = "The relay may not reach its backend, or more than it."
  }
  assert {
    condition     = length(aws_iam_role_policy.package) == 1
    error_message = "The role may not read the package."
  }
}

run "https_needs_a_sum" {
  command = plan
  variables {
    package_url = "https://example.com/natd-0.3.0-1.aarch64.rpm"
  }
  expect_failures = [aws_instance.relay]
}

run "https_with_a_sum" {
  command = plan
  variables {
    package_url    = "https://example.com/natd-0.3.0-1.aarch64.rpm"
    package_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
  }
  assert {
    condition     = length(aws_iam_role_policy.package) == 0
    error_message = "The role may read a bucket that nobody named."
  }
}

run "a_backend_without_port" {
  command = plan
  variables {
    relays = { web = { port = 80, from = ["10.1.0.0/16"], to = "10.3.0.100" } }
  }
  expect_failures = [var.relays]
}

run "an_address_of_another_subnet" {
  command = plan
  variables {
    private_ip = "10.2.1.100"
  }
  expect_failures = [aws_instance.relay]
}

run "nothing_to_relay" {
  command = plan
  variables {
    relays = {}
  }
  expect_failures = [aws_instance.relay]
}

run "a_configuration_of_ones_own" {
  variables {
    config = "[[relay]]\nname = 'mine'\nlog = true\n"
  }
  assert {
    condition     = strcontains(aws_instance.relay.user_data, "log = true") && !strcontains(aws_instance.relay.user_data, "\"10.3.0.100:8080\"")
    error_message = "The configuration is not the one that was given."
  }
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.client) == 3
    error_message = "The security group does not follow relays."
  }
}
