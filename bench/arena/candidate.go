package arena

import (
	"context"
	"errors"
	"net/netip"
)

// ErrBeyond is wrapped by the error of a candidate that cannot do a job, with the reason: it has no UDP, it takes too long.
// The table shows the reason in place of a figure.
var ErrBeyond = errors.New("out of reach")

// Candidate is one way to do a job.
type Candidate interface {
	// Name is what the tables call it.
	Name() string
	// Start does the job on host B of the arena. It returns when the last relay answers: see Arena.Answered.
	Start(context.Context, *Arena, Job) (Running, error)
}

// Running is a candidate at work.
type Running interface {
	// Stop ends it, and leaves B as it was before Start.
	Stop(context.Context) error
	// PIDs are its processes, the first the one that counts; none for a ruleset, which is all in the kernel.
	PIDs() []int
	// Change makes another job true, the way its users do it: with a reload, or one element of a map. It returns when the
	// candidate says that it is done; whether it is, the measure finds out by dialling.
	Change(context.Context, Job) error
}

// Observer is what a running candidate is besides where it hears of every connection that ends.
type Observer interface {
	// Lost is how often it has missed some so far.
	Lost(context.Context) (uint64, error)
}

// Direct is what a candidate is besides where clients do not dial the relay, for it does no NAT.
type Direct interface {
	// Dial is what its clients dial in place of Job.Listen.
	Dial(Job) netip.AddrPort
}

// Dial is what clients of a candidate dial.
func Dial(c Candidate, j Job) netip.AddrPort {
	if d, ok := c.(Direct); ok {
		return d.Dial(j)
	}
	return j.Listen(j.Hit())
}
