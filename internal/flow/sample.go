package flow

import "time"

// Owner is what a connection belongs to.
type Owner struct {
	Kind string // relay | gateway | static; "" for none of natd's
	Name string
}

// Sample is what one connection has carried since the sample before. The samples of a connection add up to its counters in the
// kernel, to the byte.
type Sample struct {
	Entry *Entry // as it was read last: both tuples and the state; valid during the call only
	Owner Owner

	ToTarget, ToClient Volume // since the sample before

	Began bool      // the first sample of a connection that began in this window
	Ended bool      // the last one: the kernel has forgotten the connection
	First time.Time // of the packets that the sample counts, as well as it is known
	Last  time.Time // likewise
}

// Sink takes samples. Its calls come from one goroutine, which must not wait for a disk.
type Sink interface {
	// Sample takes what a connection has carried. Samples of connections that end come at once, those of others when a
	// window ends.
	Sample(*Sample)
	// Window ends a window of the time from to until. It is lossy when the kernel dropped events in it, so that connections which
	// began and ended in it may be missing.
	Window(from, until time.Time, lossy bool)
}
