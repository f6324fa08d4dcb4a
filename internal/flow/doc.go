// Package flow is natd's view of the kernel's connection tracking: it reads the tracked connections, decides which of them
// contradict what is configured, removes exactly those, and reports new connections of relays that are logged.
//
// A rule decides about the first packet of a connection only; from then on the tracked entry does. So an entry that was
// made before the rules stood bypasses them for as long as the client keeps sending, and one that points to a backend that
// is gone sends its client there. Formats: linux/netfilter/nfnetlink_conntrack.h and nfnetlink_log.h.
package flow
