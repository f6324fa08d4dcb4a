package flow

import (
	"context"
	"errors"

	"natd/internal/nfnl"
)

// groupDestroy is NFNLGRP_CONNTRACK_DESTROY of linux/netfilter/nfnetlink.h: the connections that end. Hearing also of those
// that begin would cost the kernel as much again as it takes to make one.
const groupDestroy = 3

// eventsBuffer is the room for events that wait to be read, in bytes. The kernel doubles it, and counts some 768 for an event: it
// holds what ends in a second at 20,000 connections a second.
const eventsBuffer = 8 << 20

// Events hears of connections that end, with what they carried. It is for one goroutine at a time.
//
// It does not ask for NETLINK_BROADCAST_ERROR: the kernel would keep every connection whose end was not heard of, and a natd
// that hangs would fill its table. So news may be lost, and Take tells.
type Events struct {
	socket *nfnl.Socket
}

// OpenEvents subscribes to the ends of connections.
func OpenEvents() (*Events, error) {
	s, err := nfnl.Dial(eventsBuffer)
	if err != nil {
		return nil, err
	}
	if err := s.Join(groupDestroy); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &Events{socket: s}, nil
}

// Close ends the subscription.
func (v *Events) Close() error { return v.socket.Close() }

// Wait returns when a connection has ended, or ctx.
func (v *Events) Wait(ctx context.Context) error { return v.socket.Wait(ctx) }

// Take calls each for every connection that has ended since the last call, and tells whether the kernel dropped some because they
// were not taken soon enough. The entry is valid during the call only.
func (v *Events) Take(each func(*Entry)) (lost bool, err error) {
	var e Entry
	return v.socket.Take(func(m nfnl.Message) error {
		if decodeEntry(m.Attrs(), &e) {
			each(&e)
		}
		return nil
	})
}
