package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"natd/internal/lab"
)

// TestRelay is the product in one test: a page fetched from C by A through B, with the addresses of the first seed.
func TestRelay(t *testing.T) {
	t.Parallel()
	lab.Require(t, "nginx", "curl")
	inFamilies(t, func(t *testing.T, f family) {
		b := newBoxOf(t, f)
		web, err := b.C.StartNginx(t.Context(), netip.MustParseAddrPort(b.say("10.3.0.100:80")))
		lab.Check(t, err)
		b.start(webRelay("auto"))
		lab.Check(t, b.fetch(t.Context()))
		lab.Eventually(t, patience, func() error { // nginx writes the line behind the answer
			log, err := web.AccessLog()
			if err == nil && (len(log) != 1 || !strings.HasPrefix(log[0], b.say("10.2.0.100 "))) {
				err = fmt.Errorf("nginx logged %q, want one request from host B", log)
			}
			return err
		})
	})
}
