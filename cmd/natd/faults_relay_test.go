package main

import (
	"context"
	"testing"
)

// TestFaultsOfRelay configures relays that cannot work.
func TestFaultsOfRelay(t *testing.T) {
	t.Parallel()
	l := newFaultLab(t)
	l.suffer(relayFaults())
}

// fetchFrom fetches the page from an address of the relay.
func fetchFrom(addr string) func(context.Context, *faultLab) error {
	return func(ctx context.Context, l *faultLab) error {
		_, err := l.A.Curl(ctx, "http://"+addr+"/")
		return err
	}
}

func relayFaults() []fault { return nil }
