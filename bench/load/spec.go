// Package load makes connections, streams and packets, and answers them, in processes of their own: what the load costs is not
// in the way of what is measured, and each end stays on a processor of its own.
package load

import (
	"net/netip"
	"time"
)

// Kind is a sort of load.
type Kind string

// The kinds of load.
const (
	Connect Kind = "connect" // connections that ask once and are reset, as fast as Workers of them can
	Rate    Kind = "rate"    // the same, but Rate of them begin each second, however long they take
	Stream  Kind = "stream"  // Workers connections that send all they can
	Packets Kind = "packets" // UDP packets of one flow that has been answered, each of Size bytes
)

// Spec is one load.
type Spec struct {
	Kind     Kind           `json:"kind"`
	To       netip.AddrPort `json:"to"`
	Workers  int            `json:"workers,omitempty"`
	Rate     int            `json:"rate,omitempty"`
	Size     int            `json:"size,omitempty"`
	Warm     time.Duration  `json:"warm"` // before the time that counts
	Duration time.Duration  `json:"duration"`
}

// Result is what came of a load in the time that counts.
type Result struct {
	Opened  int64         `json:"opened"`  // connections that were answered
	Failed  int64         `json:"failed"`  // connections that were not
	Bytes   int64         `json:"bytes"`   // that the other end has acknowledged
	Sent    int64         `json:"sent"`    // packets
	Packets int64         `json:"packets"` // that arrived at the server's host
	Took    time.Duration `json:"took"`
	Latency Histogram     `json:"latency"`         // from the start of a connection to its first answer
	Total   int64         `json:"total"`           // connections, bytes or packets, with those before the time that counts
	CPU     time.Duration `json:"cpu"`             // of the process that made the load, for the total
	Why     string        `json:"why,omitempty"`   // the first of those that failed did
	Error   string        `json:"error,omitempty"` // of the load as a whole
}

// What the first byte of a question asks of the server.
const (
	askEcho  = 'e' // to send back what it got
	askSink  = 's' // to read all that follows, and say nothing (TCP)
	askDrop  = 'd' // to forget it before anybody reads it (UDP)
	askCount = 'c' // how many packets its host has received (UDP)
	askWho   = 'w' // which of its addresses was reached, as four bytes (TCP)
)

// WhoQuestion is how a client asks the server at which of its addresses it was reached. The answer is four bytes.
const WhoQuestion = string(askWho)
