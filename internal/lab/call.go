package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Plan says which calls a host makes to find out whom it reaches. A call is one connection, or one datagram from a socket
// of its own, and its answer. A UDP port that comes up again while a middle box still tracks its old flow is no new flow
// there: give many datagrams many sources.
type Plan struct {
	Network string         // tcp, udp, or http for a page whose first line is the name
	To      netip.AddrPort // where a Teller answers, or an nginx for http
	Count   int            // how many calls; 0 = until ctx ends
	AtOnce  int            // how many at the same time; 0 = one
	From    []netip.Addr   // the source addresses, in turn; empty = what the kernel chooses
	Pause   time.Duration  // between two calls of those that are made at the same time
	Within  time.Duration  // how long one call may take; 0 = 5 s
}

// Call is how one call went.
type Call struct {
	Began time.Time
	From  netip.Addr // of the plan; else the zero Addr
	Name  string     // who answered
	Err   error
}

// Calls are how the calls of a plan went, in the order they began.
type Calls []Call

// Call makes the calls of a plan. When ctx ends no new one begins, and those under way come to their end.
func (h *Host) Call(ctx context.Context, p Plan) (Calls, error) {
	p.AtOnce = max(p.AtOnce, 1)
	if p.Within == 0 {
		p.Within = 5 * time.Second
	}
	var next atomic.Int64
	var wait sync.WaitGroup
	made := make([]Calls, p.AtOnce)
	failed := make([]error, p.AtOnce)
	for i := range p.AtOnce {
		wait.Go(func() {
			failed[i] = h.Do(func() error { // one thread for many calls: entering a host costs more than a call
				made[i] = p.calls(ctx, &next)
				return nil
			})
		})
	}
	wait.Wait()
	all := slices.Concat(made...)
	slices.SortFunc(all, func(a, b Call) int { return a.Began.Compare(b.Began) })
	return all, errors.Join(failed...)
}

// calls makes calls until there are enough. The calling thread is in the host.
func (p Plan) calls(ctx context.Context, next *atomic.Int64) (made Calls) {
	for ctx.Err() == nil {
		n := int(next.Add(1)) - 1
		if p.Count > 0 && n >= p.Count {
			break
		}
		c := Call{Began: time.Now()}
		if len(p.From) > 0 {
			c.From = p.From[n%len(p.From)]
		}
		c.Name, c.Err = p.call(c.From)
		made = append(made, c)
		if p.Pause > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(p.Pause):
			}
		}
	}
	return made
}

func (p Plan) call(from netip.Addr) (string, error) {
	deadline := time.Now().Add(p.Within)
	network := p.Network
	if network == "http" {
		network = "tcp"
	}
	d := dialer(network, from)
	d.Deadline = deadline
	c, err := d.Dial(network, p.To.String())
	if err != nil {
		return "", err
	}
	defer c.Close()
	if network == "udp" {
		return Ask(c, p.Within)
	}
	if err := c.SetDeadline(deadline); err != nil {
		return "", err
	}
	if p.Network == "http" {
		return getName(c)
	}
	answer, err := io.ReadAll(c)
	if err == nil && len(answer) == 0 {
		err = errors.New("the connection was closed without an answer")
	}
	return firstLine(answer), err
}

// getName gets the page / and returns its first line. It speaks HTTP/1.0: the server closes after the page.
func getName(c net.Conn) (string, error) {
	if _, err := io.WriteString(c, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		return "", err
	}
	header, page, _ := bytes.Cut(answer, []byte("\r\n\r\n"))
	if status := firstLine(header); !strings.Contains(status, " 200 ") {
		return "", fmt.Errorf("the answer is %q, want a page", status)
	}
	return firstLine(page), nil
}

func firstLine(text []byte) string {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	return string(bytes.TrimRight(line, "\r"))
}

// Names is how many calls each server has answered.
func (c Calls) Names() map[string]int {
	names := make(map[string]int)
	for _, call := range c {
		if call.Err == nil {
			names[call.Name]++
		}
	}
	return names
}

// ByClient is Names for each source address.
func (c Calls) ByClient() map[netip.Addr]map[string]int {
	clients := make(map[netip.Addr]map[string]int)
	for _, call := range c {
		if clients[call.From] == nil {
			clients[call.From] = make(map[string]int)
		}
		if call.Err == nil {
			clients[call.From][call.Name]++
		}
	}
	return clients
}

// Since is the calls that began at the time or after it.
func (c Calls) Since(t time.Time) Calls {
	i := slices.IndexFunc(c, func(call Call) bool { return !call.Began.Before(t) })
	if i < 0 {
		return nil
	}
	return c[i:]
}

// Err is nil when every call was answered. Else it counts those that were not, and has the first error.
func (c Calls) Err() error {
	var first error
	n := 0
	for _, call := range c {
		if call.Err != nil {
			n++
			if first == nil {
				first = call.Err
			}
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d calls failed, the first with: %w", n, len(c), first)
}
