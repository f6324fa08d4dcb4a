// Package nfnl is the transport to the kernel's netfilter subsystems (nf_tables, conntrack, nflog) over
// NETLINK_NETFILTER: messages and their attributes, requests, dumps, atomic batches and notifications.
//
// It exists beside the general netlink libraries for three things that they do not do. A dump shows the kernel
// a large receive buffer, because the kernel sizes dump messages by the largest buffer it has been shown and restarts
// its walk of a set for every message: small buffers make the dump of a large set quadratic. A batch carries the
// generation id it was computed from, so that the kernel refuses it when somebody wrote in between, and it asks for
// one acknowledgement instead of thousands, so that the answer fits the receive buffer. And after an error the
// socket stays usable: answers are matched by sequence number and late ones are skipped, which matters because a
// socket can own a table that the kernel removes when it is closed.
//
// It knows nothing of tables, rules or connections. Formats: linux/netlink.h, linux/netfilter/nfnetlink.h.
package nfnl
