package trace

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"natd/internal/lab"
)

// patience is how long a test waits for what should happen at once.
const patience = 20 * time.Second

// Where the relay listens, and where it sends to.
const listenPort, targetPort = 80, 8080

// watched is a watch whose packets are collected.
type watched struct {
	t      *testing.T
	stream *Stream
	end    context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	packets  []Packet
	follower *Follower
	first    *Attempt
}

// watch watches in a host, and follows the connections of a relay.
func watch(t *testing.T, h *lab.Host, r Relay, f Filter) *watched {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	w := &watched{t: t, end: end, done: make(chan struct{}), follower: &Follower{Relay: r}}
	lab.Check(t, h.Do(func() (err error) {
		w.stream, err = Watch(ctx, f)
		return err
	}))
	go w.collect()
	t.Cleanup(func() {
		end()
		<-w.done
		lab.Check(t, w.stream.Close())
		if t.Failed() {
			for _, p := range w.packets {
				t.Log(p)
			}
		}
	})
	return w
}

func (w *watched) collect() {
	defer close(w.done)
	for {
		p, err := w.stream.Next()
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				w.t.Error(err)
			}
			return
		}
		w.mu.Lock()
		w.packets = append(w.packets, p)
		if a, begins := w.follower.See(p); begins && w.first == nil {
			w.first = a
		}
		w.mu.Unlock()
	}
}

// all is the packets so far.
func (w *watched) all() []Packet {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.packets)
}

// await waits for the first connection to be as it should.
func (w *watched) await(cond func(*Attempt) error) {
	w.t.Helper()
	lab.Eventually(w.t, patience, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.first == nil {
			return errors.New("no connection was seen")
		}
		return cond(w.first)
	})
}

// end of one protocol, at an address and a port.
func end(proto Protocol, a netip.Addr, port uint16) End {
	return End{Addr: a, Proto: proto, First: port, Last: port}
}

// between is the relay from B to C.
func between(proto Protocol, p *lab.Peering, v6 bool) Relay {
	b, c := p.B.Addr, p.C.Addr
	if v6 {
		b, c = p.B.Addr6, p.C.Addr6
	}
	return Relay{Listen: []End{end(proto, b, listenPort)}, Targets: []End{end(proto, c, targetPort)}}
}
