variable "name" {
  description = "Name of the relay: of its tag, and the beginning of what it makes."
  type        = string
  default     = "natd"
}

variable "subnet_id" {
  description = "The subnet in VPC B, with routes to the clients' and the backends' networks through the peerings."
  type        = string
}

variable "private_ip" {
  description = "The address that clients dial, in that subnet."
  type        = string
}

variable "relays" {
  description = "The relays: which port of private_ip leads where, and who may use it. protocol is tcp or udp."
  type = map(object({
    port     = number
    from     = list(string)
    to       = string
    protocol = optional(string, "tcp")
  }))

  validation {
    condition     = alltrue([for relay in var.relays : can(regex("^[0-9.]+:[0-9]+$", relay.to))])
    error_message = "to is the backend's address and port, for example 10.3.0.100:80."
  }

  validation {
    condition     = alltrue([for relay in var.relays : alltrue([for network in relay.from : can(cidrhost(network, 0))])])
    error_message = "from is a list of networks, for example [\"10.1.0.0/16\"]."
  }

  validation {
    condition     = alltrue([for relay in var.relays : contains(["tcp", "udp"], relay.protocol)])
    error_message = "protocol is tcp or udp."
  }
}

variable "package_url" {
  description = "Where the instance gets the natd package (.rpm for Amazon Linux, .deb for Debian): https:// or s3://. {arch} stands for its architecture."
  type        = string

  validation {
    condition     = can(regex("^(https|s3)://.*\\.(rpm|deb)$", var.package_url))
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
