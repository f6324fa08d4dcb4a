package flow

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"natd/internal/lab"
	"natd/internal/nfnl"
	"natd/nat"
)

// limitedRelay makes host B a relay of port 80 to C that takes one connection of each source, and that reports what it refuses.
func limitedRelay(t *testing.T, p *lab.Peering) {
	t.Helper()
	apply(t, p, func(r *nat.Relay) { r.Log, r.MaxPerSource = false, 1 }, true)
}

// tellsTracked tells whether the kernel adds the tracked connection to reports.
func tellsTracked(t *testing.T, h *lab.Host) bool {
	t.Helper()
	var err error
	lab.Check(t, h.Do(func() error {
		var s *nfnl.Socket
		if s, err = bindGroup(1, "nothing", func(b *nfnl.Builder) { b.Uint16(cfgFlags, flagConntrack) }); err != nil {
			return nil
		}
		return s.Close()
	}))
	if err != nil && !isUnsupported(err) {
		t.Fatal(err)
	}
	return err == nil
}

// From the client's packet that the kernel refuses to the report of it, with the addresses before the translation.
func TestRefusals(t *testing.T) {
	t.Parallel()
	p := lab.New(t)
	limitedRelay(t, p)
	_, err := p.C.EchoTCP(netip.AddrPortFrom(p.C.Addr, 8080).String())
	lab.Check(t, err)
	var r *Refusals
	lab.Check(t, p.B.Do(func() (err error) {
		r, err = OpenRefusals()
		return err
	}))
	heard, done := make(chan Refused, 100), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		done <- r.Run(ctx, func(r *Refused) { heard <- *r }, func() { t.Error("the kernel dropped reports") })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		lab.Check(t, r.Close())
	})

	listen := netip.AddrPortFrom(p.B.Addr, 80)
	first, err := p.A.Dial(t.Context(), "tcp", listen.String())
	lab.Check(t, err)
	defer first.Close()
	if second, err := p.A.Dial(t.Context(), "tcp", listen.String()); err == nil {
		second.Close()
		t.Fatal("the relay takes two connections")
	}
	const within = 10 * time.Second
	dialled, target := listen, netip.AddrPortFrom(p.C.Addr, 8080)
	if !tellsTracked(t, p.B) {
		dialled = target
	}
	want := fmt.Sprintf("tcp %v %v %v 2", p.A.Addr, dialled, target)
	select {
	case got := <-heard:
		if is := fmt.Sprintf("%v %v %v %v %d", got.Proto, got.From.Addr(), got.Dialled, got.Target, got.Flags); is != want || got.Bytes < 40 || got.Device == 0 {
			t.Errorf("heard %+v, want %s", got, want)
		}
	case <-time.After(within):
		t.Fatal("nothing was reported")
	}
}

// With the tracked connection in the report, what the client dialled is known although the packet does not carry it any more.
func TestDecodeRefused(t *testing.T) {
	t.Parallel()
	sent := packet(5, nat.TCP) // 10.1.0.5:40000 > 10.2.0.100:80, behind the translation
	sent[3] = 60
	sent = append(sent, make([]byte, 10)...)
	sent[20+13] = 0x12
	want := Refused{
		Proto: nat.TCP, From: addrPort("10.1.0.5:40000"), Dialled: addrPort("10.2.0.100:80"), Target: addrPort("10.2.0.100:80"),
		Bytes: 60, Flags: 0x12, Device: 7,
	}
	for name, tt := range map[string]struct {
		entry   *Entry
		dialled string
	}{
		"not tracked":    {nil, "10.2.0.100:80"},
		"translated":     {translated(nat.TCP, "10.1.0.5:40000", "10.2.0.101:8080", "10.2.0.100:80", 0), "10.2.0.101:8080"},
		"not translated": {plain(nat.TCP, "10.1.0.5:40000", "10.2.0.100:80", 0), "10.2.0.100:80"},
		"an answer":      {translated(nat.TCP, "10.1.0.9:40000", "10.2.0.101:8080", "10.2.0.100:80", 0), "10.2.0.100:80"},
	} {
		var b nfnl.Builder
		b.Uint32(logDevice, 7)
		b.Bytes(logPayload, sent)
		if tt.entry != nil {
			b.Bytes(logConntrack, encoded(tt.entry))
		}
		want.Dialled = addrPort(tt.dialled)
		var got Refused
		if ok := decodeRefused(b.Payload(), &got, &Entry{}); !ok || got != want {
			t.Errorf("%s: %v, %+v; want %+v", name, ok, got, want)
		}
	}
	for _, cut := range []int{0, 1, 19} {
		var b nfnl.Builder
		b.Bytes(logPayload, sent[:cut])
		if decodeRefused(b.Payload(), &Refused{}, &Entry{}) {
			t.Errorf("%d bytes are taken for a packet", cut)
		}
	}
}

func FuzzDecodeRefused(f *testing.F) {
	f.Add(packet(5, nat.TCP))
	f.Add(packet6(nat.UDP, [2]byte{extAuth, 24}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Refused
		if r.decode(b); r.From.Addr().IsValid() != r.Target.Addr().IsValid() {
			t.Errorf("half an answer: %+v", r)
		}
	})
}
