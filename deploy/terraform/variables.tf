variable "name" {
  description = "Name of the relay: of its tag, and the beginning of what it makes."
  type        = string
  default     = "natd"
}

variable "vpc_id" {
  description = "VPC B."
  type        = string
}

variable "subnet_id" {
  description = "The subnet in VPC B, with routes to the clients' and the backends' networks through the peerings."
  type        = string
}

variable "private_ip" {
  description = "The address that clients dial, in that subnet."
  type        = string

  validation {
    condition     = try(cidrsubnet("${var.private_ip}/32", 0, 0) == "${var.private_ip}/32", false)
    error_message = "private_ip is an IPv4 address, for example 10.2.0.100."
  }
}

variable "relays" {
  description = "The relays: which port of private_ip leads where, and who may use it. protocol is tcp or udp. The security group follows it, also beside config."
  type = map(object({
    port     = number
    from     = list(string)
    to       = string
    protocol = optional(string, "tcp")
  }))
  default = {}

  validation {
    condition     = alltrue([for name, relay in var.relays : can(regex("^[a-z0-9][a-z0-9-]{0,47}$", name))])
    error_message = "A relay's name has a-z, 0-9 and \"-\", begins with a letter or digit, and has at most 48 characters."
  }

  validation {
    condition     = alltrue([for relay in var.relays : relay.port >= 1 && relay.port <= 65535 && floor(relay.port) == relay.port])
    error_message = "port is a whole number from 1 to 65535."
  }

  validation {
    condition = alltrue([for relay in var.relays : alltrue([
      can(regex("^[0-9.]+:[1-9][0-9]{0,4}$", relay.to)),
      try(cidrsubnet("${split(":", relay.to)[0]}/32", 0, 0) == "${split(":", relay.to)[0]}/32", false),
      try(tonumber(split(":", relay.to)[1]) <= 65535, false),
    ])])
    error_message = "to is the backend's IPv4 address and port, for example 10.3.0.100:80."
  }

  validation {
    condition = alltrue([for relay in var.relays : length(relay.from) > 0 && alltrue([for network in relay.from : alltrue([
      can(regex("^[0-9.]+(/[0-9]+)?$", network)),
      try(cidrsubnet(network, 0, 0) == network, cidrsubnet("${network}/32", 0, 0) == "${network}/32", false),
    ])])])
    error_message = "from is a list of IPv4 networks, without bits behind the prefix, or addresses, for example [\"10.1.0.0/16\"]; [\"0.0.0.0/0\"] is everyone."
  }

  validation {
    condition     = alltrue([for relay in var.relays : contains(["tcp", "udp"], relay.protocol)])
    error_message = "protocol is tcp or udp."
  }
}

variable "config" {
  description = "The whole of natd.toml, instead of what is made of relays: for log, snat, ranges and all other keys. What relays does not name needs rules of your own in the security group."
  type        = string
  default     = null
}

variable "package_url" {
  description = "Where the instance gets the natd package (.rpm for Amazon Linux, .deb for Debian): https:// or s3://. {arch} stands for its architecture."
  type        = string

  validation {
    condition     = can(regex("^(https://[^?]*\\.(rpm|deb)(\\?.*)?|s3://.*\\.(rpm|deb))$", var.package_url))
    error_message = "package_url begins with https:// or s3:// and ends in .rpm or .deb."
  }
}

variable "package_sha256" {
  description = "The SHA-256 of the package in hex; several, between blanks, when {arch} stands for several packages. Required for https://."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([0-9A-Fa-f]{64}( [0-9A-Fa-f]{64})*)?$", var.package_sha256))
    error_message = "package_sha256 is 64 hex digits, or several such words."
  }
}

variable "instance_type" {
  description = "The type of the instance. Its network performance is the relay's."
  type        = string
  default     = "t3.nano"
}

variable "ami" {
  description = "The image, Amazon Linux 2023 or Debian; null takes the newest Amazon Linux 2023 for the type's architecture. A newer image does not replace an instance that stands."
  type        = string
  default     = null
}

variable "public_ip" {
  description = "Whether the instance gets a public address: its way to Systems Manager and the package where the subnet has an internet gateway but no NAT and no endpoints."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags for everything that can carry them."
  type        = map(string)
  default     = {}
}
