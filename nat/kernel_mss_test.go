package nat

import (
	"fmt"
	"regexp"
	"testing"

	"natd/internal/lab"
)

// announced is the segment sizes that the two ends hear of each other in one connection: the server's of the client, in
// its SYN, and the client's of the server, in its SYN-ACK.
func (w *wire) announced(t *testing.T, s sides, to string) (fromClient, fromServer string) {
	t.Helper()
	heard := func(h *lab.Host, flags string) func() string {
		c, err := h.Capture(t.Context(), lab.Device, "tcp port 80")
		lab.Check(t, err)
		return func() (size string) {
			lab.Check(t, c.Await(t.Context(), patience, func(packets []lab.Packet) error {
				for _, p := range packets {
					if m := regexp.MustCompile(`mss (\d+)`).FindStringSubmatch(p.Line); p.Flags == flags && m != nil {
						size = m[1]
						return nil
					}
				}
				return fmt.Errorf("no %s in %d packets", flags, len(packets))
			}))
			_, err := c.Stop(t.Context())
			lab.Check(t, err)
			return size
		}
	}
	server, client := heard(w.server, "S"), heard(w.client, "S.")
	conn, err := w.say(w.client, s.client, "tcp", to)
	lab.Check(t, err)
	lab.Check(t, conn.Close())
	return server(), client()
}

// Both ends hear no more than the smaller MTU of the two sides carries, less 40 bytes of headers, 60 in IPv6; a number is
// kept below; nothing is ever raised, and "off" touches nothing.
func TestSegmentSize(t *testing.T) {
	t.Parallel()
	const own = 0
	for name, c := range map[string]struct {
		clientMTU, serverMTU   int
		mss                    MSS
		fromClient, fromServer int // before headers are taken off; 0 = what the end itself says
	}{
		"auto, large client":       {9001, 1500, MSS{}, 1500, own},
		"auto, large server":       {1500, 9001, MSS{}, own, 1500},
		"auto, both the same":      {1500, 1500, MSS{}, own, own},
		"a number":                 {9001, 1500, MSS{Size: 1200}, 1200, 1200},
		"a number that is greater": {1500, 1400, MSS{Size: 8000}, own, own},
		"off":                      {9001, 1400, MSS{Off: true}, own, own},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWire(t, c.clientMTU, c.serverMTU)
			for headers, s := range map[int]sides{40: sides4(), 60: sides6()} {
				w.echoes([]string{s.server})
				relay := relayed(s, []string{s.server}, func(r *Relay) { r.MSS = c.mss })
				other := relayOf("other", 81, s.server, listen(s.in), func(r *Relay) { r.MSS = MSS{Size: 700} })
				relay.relays = append(relay.relays, other)
				w.bring(relay.build())
				want := func(size, mtu int) string {
					switch {
					case size == own:
						return fmt.Sprint(mtu - headers)
					case c.mss.Size > 0:
						return fmt.Sprint(size)
					}
					return fmt.Sprint(size - headers)
				}
				fromClient, fromServer := w.announced(t, s, port80(s.in))
				if a, b := want(c.fromClient, c.clientMTU), want(c.fromServer, c.serverMTU); fromClient != a || fromServer != b {
					t.Errorf("%s: the server hears %s and the client %s, want %s and %s", s.in, fromClient, fromServer, a, b)
				}
			}
		})
	}
}

// Gateways and statics are clamped, too, in both directions of opening.
func TestSegmentSizeOfTheOthers(t *testing.T) {
	t.Parallel()
	w := newWire(t, 9001, 1500)
	for headers, s := range map[int]sides{40: sides4(), 60: sides6()} {
		w.echoes([]string{s.server})
		want := fmt.Sprint(1500 - headers)
		w.bring(onlyTo(s, s.server).build())
		if size, _ := w.announced(t, s, port80(s.server)); size != want {
			t.Errorf("gateway: the server hears %s, want %s", size, want)
		}
		static, external := mapped(s, SNATAuto)
		w.bring(static.build())
		if size, _ := w.announced(t, s, port80(external(s.server))); size != want {
			t.Errorf("static: the server hears %s, want %s", size, want)
		}
	}
}
