// Package netconf is the network of the host as far as a NAT relay depends on it: which way packets to a destination
// go and with which source address, which addresses are local, which ports local services hold, whether
// the kernel forwards, and a signal when any of that may have changed.
//
// It owns two things. A Host asks the kernel over netlink, for every answer anew, and changes nothing. Sysctls changes
// kernel settings under /proc/sys and keeps a ledger of what they were, so that everything can be put back.
//
// Both act on the network namespace of the thread that opens them. It knows nothing of relays, rules or files
// of configuration.
package netconf
