// Package arena is where candidates compete: a client, a host that relays, and a server, in a line. It says what the job is,
// and what a candidate has to be.
package arena

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"

	"natd/bench/load"
	"natd/internal/lab"
)

// Interfaces of host B.
const (
	ToClient = "client" // towards A
	ToServer = "server" // towards C
)

// Arena is a lab of three hosts: clients 10.1.0.0/16 on A, the relays on B (10.2.0.100), the server on C (10.3.0.100). B routes
// between both and has no other router beside it, so that what is measured is B.
type Arena struct {
	*lab.Lab
	A, B, C *lab.Host

	// Load makes loads from A. The server on C answers them at EchoPort.
	Load *load.Client
	// Server is the process of the server.
	Server *lab.Process
	// Programs is the directory that has natd and natctl.
	Programs string
	// Patience is how long a candidate may take until it answers.
	Patience time.Duration

	began time.Time
}

// Open builds an arena, whose server echoes what it gets, on every address of its network.
func Open(ctx context.Context, programs string, patience time.Duration) (*Arena, error) {
	l, err := lab.Open()
	if err != nil {
		return nil, err
	}
	a := &Arena{Lab: l, Programs: programs, Patience: patience}
	if err := a.build(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("building an arena: %w", err), l.Close())
	}
	return a, nil
}

// Answered waits until the relay that is hit answers a client, who dials where. It is an ErrBeyond when that takes too long.
func (a *Arena) Answered(ctx context.Context, j Job, where netip.AddrPort) error {
	err := Until(ctx, a.Patience, func() error { return a.Ask(ctx, j.Protocol(), where) })
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w: %d relays do not answer: %w", ErrBeyond, j.Relays, err)
	}
	return err
}

// Begin sets the clock of a start or a change to nothing. A candidate calls it when it has prepared what does not count, such as a file that
// its users have written before.
func (a *Arena) Begin() { a.began = time.Now() }

// Began is when the clock was set to nothing.
func (a *Arena) Began() time.Time { return a.began }

// Flush makes B forget the connections that it tracks: no candidate or load leaves work for the next.
func (a *Arena) Flush() error {
	return a.B.Do(func() error {
		if err := netlink.ConntrackTableFlush(netlink.ConntrackTable); err != nil {
			return fmt.Errorf("forgetting connections: %w", err)
		}
		return nil
	})
}
