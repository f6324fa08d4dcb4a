variable "name" {
  description = "The beginning of all names."
  type        = string
  default     = "natd-example"
}

variable "package_url" {
  description = "Where the relay gets the natd package (.rpm): https:// or s3://."
  type        = string
}

variable "package_sha256" {
  description = "The SHA-256 of the package; required for https://."
  type        = string
  default     = ""
}

variable "instance_type" {
  description = "For all three instances."
  type        = string
  default     = "t3.nano"
}

variable "networks" {
  description = "For each VPC its range, the range of its subnet, and the address of its instance: client, relay, server."
  type = map(object({
    vpc    = string
    subnet = string
    host   = string
  }))
  default = {
    a = { vpc = "10.1.0.0/16", subnet = "10.1.0.0/24", host = "10.1.0.100" }
    b = { vpc = "10.2.0.0/16", subnet = "10.2.0.0/24", host = "10.2.0.100" }
    c = { vpc = "10.3.0.0/16", subnet = "10.3.0.0/24", host = "10.3.0.100" }
  }

  validation {
    condition     = toset(keys(var.networks)) == toset(["a", "b", "c"])
    error_message = "networks has the keys a, b and c."
  }
}

variable "tags" {
  description = "Tags for everything that can carry them."
  type        = map(string)
  default     = {}
}
