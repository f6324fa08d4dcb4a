package flow

import (
	"context"
	"encoding/binary"
	"errors"

	"natd/internal/nfnl"
)

// groupDestroy is NFNLGRP_CONNTRACK_DESTROY of linux/netfilter/nfnetlink.h: the connections that end. Hearing also of those
// that begin would cost the kernel as much again as it takes to make one.
const groupDestroy = 3

// eventsBuffer is the room for events that wait to be read, in bytes. The kernel doubles it, and counts 1280 for an event (measured:
// it holds 13,107): that is most of a second at 15,000 connections a second.
const eventsBuffer = 8 << 20

// maxKept is how many bytes of events wait here at most, see Gather: a few hundred thousand.
const maxKept = 64 << 20

// Events hears of connections that end, with what they carried. It is for one goroutine at a time.
//
// It does not ask for NETLINK_BROADCAST_ERROR: the kernel would keep every connection whose end was not heard of, and a natd
// that hangs would fill its table. So news may be lost, and Take tells.
type Events struct {
	socket *nfnl.Socket
	kept   []byte // by Gather: attributes, with their length in front
	lost   bool   // before what will be taken next
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
	decode := func(attrs []byte) {
		if decodeEntry(attrs, &e) {
			each(&e)
		}
	}
	for rest := v.kept; len(rest) > 0; {
		size := 4 + int(binary.NativeEndian.Uint32(rest))
		decode(rest[4:size])
		rest = rest[size:]
	}
	lost, err = v.socket.Take(func(m nfnl.Message) error {
		decode(m.Attrs())
		return nil
	})
	lost = lost || v.lost
	v.kept, v.lost = nil, false
	return lost, err
}

// Gather keeps what has arrived until the next Take, so that there is room for more while a long dump is under way. What goes wrong
// the next Take will meet, too.
func (v *Events) Gather() {
	if len(v.kept) >= maxKept {
		return // the kernel drops what there is no room for, and tells
	}
	lost, _ := v.socket.Take(func(m nfnl.Message) error {
		attrs := m.Attrs()
		v.kept = binary.NativeEndian.AppendUint32(v.kept, uint32(len(attrs)))
		v.kept = append(v.kept, attrs...)
		return nil
	})
	v.lost = v.lost || lost
}
