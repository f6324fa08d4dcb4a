package nat

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// Writer is a process that changed the ruleset.
type Writer struct {
	PID  int
	Name string // as the kernel knows it: at most 15 bytes
}

// String is "nft (pid 1234)", or "" for nobody.
func (w Writer) String() string {
	if w.PID == 0 {
		return ""
	}
	return fmt.Sprintf("%s (pid %d)", w.Name, w.PID)
}

// Change is a change of the ruleset by another than natd. The zero value is one of which nothing is known.
type Change struct {
	Writer     Writer
	Generation uint32 // that it led to; 0 = changes were missed, nobody knows how many
	Elsewhere  bool   // it touched none of natd's tables
	Touched    bool   // it touched one of them; neither of both where a part of it may have been missed
}

// Watcher hears of changes of any table by others.
type Watcher struct {
	socket *nfnl.Socket

	// Of the change under way:
	ours   bool // a part of it is in natd's tables
	missed bool // a part of it may have been missed
}

// NewWatcher subscribes. Changes from now on are not missed. Those made by the socket with the port id own are natd's and
// not reported: the process id in a notification is that of a thread, and does not tell.
func NewWatcher(own uint32) (*Watcher, error) {
	s, err := nfnl.Dial(1 << 20)
	if err != nil {
		return nil, err
	}
	w := &Watcher{socket: s}
	if err := s.NotFrom(own); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.Join(unix.NFNLGRP_NFTABLES); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return w, nil
}

// Close ends the subscription.
func (w *Watcher) Close() error { return w.socket.Close() }

// Pause has the kernel tell nothing until Resume. As long as anybody listens, it writes a notification for each element of a commit, of
// natd's own, too, and keeps them all until the commit is done (nf_tables_setelem_notify): 8 KiB for each, which were 2.4 GB of
// kernel memory for 100,000 relays, whose loading took 6.5 s instead of 0.9 s.
func (w *Watcher) Pause() error { return w.socket.Leave(unix.NFNLGRP_NFTABLES) }

// Resume ends a Pause. What others changed meanwhile is missed: who wants to know has to read the table after this. On an error the
// watcher is deaf for good, and Run ends with an error, too.
func (w *Watcher) Resume() error {
	err := w.socket.Join(unix.NFNLGRP_NFTABLES)
	if err != nil {
		return errors.Join(err, w.socket.Close())
	}
	return nil
}

// Run calls changed for every change until ctx ends, and with the zero Change when notifications were lost.
//
// That a change is elsewhere is proven: the kernel tells, before it releases the lock of a commit, each table, chain, rule, set, element, object
// and flowtable that was changed, with the name of its table, and behind all of them the new generation (nf_tables_commit). What it cannot
// tell, for want of memory or because the queue is full, it reports as lost. It may do so in the middle of a change, and tell the rest when there
// is room again: from the news of a loss on nothing is elsewhere, until all that was left has been read.
func (w *Watcher) Run(ctx context.Context, changed func(Change)) error {
	return w.socket.Follow(ctx, func(m nfnl.Message) error {
		switch {
		case m.Type>>8 != unix.NFNL_SUBSYS_NFTABLES:
		case m.Type != nfnl.Type(unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_NEWGEN):
			// The first attribute of all that has a table is the table's name.
			name := nfnl.String(nfnl.Attr(m.Attrs(), unix.NFTA_TABLE_NAME))
			w.ours = w.ours || name == TableName || name == guardName
		default:
			missed := w.missed || w.socket.Dropping()
			changed(Change{
				Writer: Writer{
					PID:  int(nfnl.Uint32(nfnl.Attr(m.Attrs(), unix.NFTA_GEN_PROC_PID))),
					Name: nfnl.String(nfnl.Attr(m.Attrs(), unix.NFTA_GEN_PROC_NAME)),
				},
				Generation: nfnl.Uint32(nfnl.Attr(m.Attrs(), unix.NFTA_GEN_ID)),
				Elsewhere:  !w.ours && !missed,
				Touched:    w.ours,
			})
			w.ours, w.missed = false, false
		}
		return nil
	}, func() {
		w.missed = true
		changed(Change{})
	})
}
