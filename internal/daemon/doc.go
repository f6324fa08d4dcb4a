// Package daemon is natd at work: it owns the goroutines and the time. One goroutine owns the kernel. Everything that may call
// for work (a change of the ruleset, the network or the file, a request, a timer) only wakes it; a pass then looks at
// everything there is, brings the kernel in line with the configuration, and reads back that it did:
//
//	config -> places (what this host makes of each relay) -> nat.Build -> want
//	kernel -> nat.Read -> have;  nat.Diff(want, have) -> Apply -> stale connections -> Read again -> host settings -> status
//
// A pass that fails changes nothing in what natd believes: the next one begins from what the kernel says.
package daemon
