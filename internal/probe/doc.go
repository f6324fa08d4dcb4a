// Package probe finds out what moves and dies behind a relay: which backends take connections, and which addresses the
// DNS names of backends have at present.
//
// A Prober connects to backends and gives a verdict on each. Names asks a resolver for addresses and keeps the last good
// answer, also over a restart. Both have a Run that works until its context ends, both call back when something changed,
// and both answer at any time, from any goroutine, with what they know. What follows from it is decided elsewhere.
//
// Connect, Ping and PathMTU ask once, for a person who wants to know why a target does not answer, and tell more: who refused, by which
// ICMP error, from where, or that this host itself did not send.
//
// Names are asked of name servers alone, as resolv.conf(5) says; /etc/hosts and nsswitch.conf play no part, for what stands
// there has no time to live. Sockets are opened in the network namespace of the process.
package probe
