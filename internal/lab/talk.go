package lab

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what should happen at once: a loaded machine may need it.
const patience = 20 * time.Second

// hiccup is the longest silence of a busy connection that a loaded machine excuses. A connection that breaks is silent
// for ever, one that lost packets for at least 0.2 s (TCP_RTO_MIN of linux/tcp.h) and then twice as long each time.
const hiccup = time.Second

// Conversation is a TCP connection on which something is said and echoed every few milliseconds.
type Conversation struct {
	conn net.Conn
	done chan struct{}

	mu      sync.Mutex
	rounds  int
	longest time.Duration
	err     error
}

// Converse begins to talk from an address of the host, or any when from is the zero Addr, to an echo server.
func (h *Host) Converse(t testing.TB, from netip.Addr, to string) *Conversation {
	t.Helper()
	conn, err := h.DialFrom(t.Context(), "tcp", from, to)
	Check(t, err)
	c := &Conversation{conn: conn, done: make(chan struct{})}
	t.Cleanup(func() { _ = conn.Close() })
	go c.talk()
	c.GoesOn(t)
	return c
}

func (c *Conversation) talk() {
	defer close(c.done)
	for said := []byte("natd"); ; time.Sleep(10 * time.Millisecond) {
		began := time.Now()
		heard := make([]byte, len(said))
		_ = c.conn.SetDeadline(began.Add(patience))
		_, err := c.conn.Write(said)
		if err == nil {
			_, err = io.ReadFull(c.conn, heard)
		}
		c.mu.Lock()
		c.rounds, c.longest, c.err = c.rounds+1, max(c.longest, time.Since(began)), err
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// GoesOn wants more to be said and echoed.
func (c *Conversation) GoesOn(t testing.TB) {
	t.Helper()
	c.mu.Lock()
	before := c.rounds
	c.mu.Unlock()
	Eventually(t, 2*patience, func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.err == nil && c.rounds < before+3 {
			return errors.New("the conversation has stopped")
		}
		return nil
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		t.Fatalf("the conversation ended after %d rounds: %v", c.rounds, c.err)
	}
}

// End ends a conversation that must not have had a gap.
func (c *Conversation) End(t testing.TB) {
	t.Helper()
	c.GoesOn(t)
	Check(t, c.conn.Close())
	<-c.done
	t.Logf("%d rounds, the longest took %v", c.rounds, c.longest.Round(time.Millisecond/10))
	if c.longest > hiccup {
		t.Errorf("the connection was silent for %v", c.longest)
	}
}

// Breaks wants the other side to end the conversation soon.
func (c *Conversation) Breaks(t testing.TB) {
	t.Helper()
	select {
	case <-c.done:
	case <-time.After(patience):
		t.Fatal("the conversation goes on")
	}
	if c.err == nil || errors.Is(c.err, os.ErrDeadlineExceeded) {
		t.Errorf("after %d rounds the conversation ended with %v, want an end by the other side", c.rounds, c.err)
	}
	t.Logf("it broke after %v: %v", c.longest.Round(time.Millisecond), c.err)
}
