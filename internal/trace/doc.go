// Package trace watches the packets of a relay's connections on the interfaces of this host, and says how far one of them got.
//
// A packet that arrives is seen before any rule of netfilter, one that leaves behind the last. So what is seen is what is on the wire,
// and a connection that is relayed is seen four times:
//
//	client > listen      In    as the client sent it
//	snat   > target      Out   translated
//	target > snat        In    the answer
//	listen > client      Out   translated back
//
// What has arrived and does not leave was lost in this host. Watch gives the packets, Follower puts those of one connection together.
// Packets come from anybody: nothing here trusts a length, and memory is bounded.
package trace
