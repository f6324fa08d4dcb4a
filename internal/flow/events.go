package flow

import (
	"context"
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
	"natd/nat"
)

// groupDestroy is NFNLGRP_CONNTRACK_DESTROY of linux/netfilter/nfnetlink.h: the connections that end. Hearing also of those
// that begin would cost the kernel as much again as it takes to make one.
const groupDestroy = 3

// eventsBuffer is the room for events that wait to be read, in bytes. The kernel doubles it, and counts 1280 for an event (measured:
// it holds 13,107): that is most of a second at 15,000 connections a second.
const eventsBuffer = 8 << 20

// eventSize is the room for one piece of news, in bytes. An end takes some 250, with everything that a kernel may say of a connection less
// than 1000; the report of a packet has at most copyRange bytes of it.
const eventSize = 2048

// maxKept is how many bytes of events wait here at most, see Gather: a few hundred thousand.
const maxKept = 64 << 20

// Events hears of connections that end, with what they carried, and of packets that are not counted. It is for one goroutine at a time.
//
// Both come by one socket, and so in the order in which they happened: what a connection repeated is told before its end.
//
// It does not ask for NETLINK_BROADCAST_ERROR: the kernel would keep every connection whose end was not heard of, and a natd
// that hangs would fill its table. So news may be lost, and Take tells.
type Events struct {
	inbox *nfnl.Inbox
	deaf  error
	kept  []byte // by Gather: the type of a message, the length of its attributes, and these
	lost  bool   // before what will be taken next
}

// OpenEvents subscribes to the ends of connections, and to nat.RepeatedGroup, which only one program in a network namespace can
// have: see Deaf.
func OpenEvents() (*Events, error) {
	s, err := nfnl.Dial(eventsBuffer)
	if err != nil {
		return nil, err
	}
	deaf := bindTo(s, nat.RepeatedGroup, "packets that are not counted", func(b *nfnl.Builder) {
		b.Uint32(cfgAtOnce, 1) // each before the end of its connection
		b.Uint32(cfgBuffer, repeatedSize)
	})
	if err := s.Join(groupDestroy); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	inbox, err := s.Inbox(eventSize)
	if err != nil {
		return nil, err
	}
	return &Events{inbox: inbox, deaf: deaf}, nil
}

// Deaf is why packets that are not counted are not heard of; nil when they are.
func (v *Events) Deaf() error { return v.deaf }

// Close ends the subscription.
func (v *Events) Close() error { return v.inbox.Close() }

// Wait returns when there is something to take, or ctx has ended.
func (v *Events) Wait(ctx context.Context) error { return v.inbox.Wait(ctx) }

// Hearer is told what Events hears. What it is told with is valid during the call only.
type Hearer interface {
	// Ended is told of a connection that has ended.
	Ended(*Entry)
	// Repeated is told of a packet that is not counted.
	Repeated(*Repeated)
}

// Take tells what has happened since the last call, and whether the kernel dropped some news because they were not taken soon enough.
func (v *Events) Take(to Hearer) (lost bool, err error) {
	t := teller{to: to}
	for rest := v.kept; len(rest) > 0; {
		size := keptHeader + int(binary.NativeEndian.Uint32(rest[2:]))
		t.tell(binary.NativeEndian.Uint16(rest), rest[keptHeader:size])
		rest = rest[size:]
	}
	lost, err = v.inbox.Take(func(m nfnl.Message) error {
		t.tell(m.Type, m.Attrs())
		return nil
	})
	lost = lost || v.lost
	v.kept, v.lost = nil, false
	return lost, err
}

// teller reads messages. It has the room to do it in.
type teller struct {
	to       Hearer
	entry    Entry
	repeated Repeated
}

func (t *teller) tell(typ uint16, attrs []byte) {
	if typ == nfnl.Type(unix.NFNL_SUBSYS_ULOG, msgLogPacket) {
		if decodeRepeated(attrs, &t.repeated) {
			t.to.Repeated(&t.repeated)
		}
	} else if decodeEntry(attrs, &t.entry) {
		t.to.Ended(&t.entry)
	}
}

// keptHeader is the bytes that Gather puts in front of attributes.
const keptHeader = 2 + 4

// Gather keeps what has arrived until the next Take, so that there is room for more while a long dump is under way. What goes wrong
// the next Take will meet, too.
func (v *Events) Gather() {
	if len(v.kept) >= maxKept {
		return // the kernel drops what there is no room for, and tells
	}
	lost, _ := v.inbox.Take(func(m nfnl.Message) error {
		attrs := m.Attrs()
		v.kept = binary.NativeEndian.AppendUint16(v.kept, m.Type)
		v.kept = binary.NativeEndian.AppendUint32(v.kept, uint32(len(attrs)))
		v.kept = append(v.kept, attrs...)
		return nil
	})
	v.lost = v.lost || lost
}
