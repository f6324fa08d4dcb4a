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

// Watcher hears of changes of any table by others.
type Watcher struct {
	socket *nfnl.Socket
	own    uint32
}

// NewWatcher subscribes. Changes from now on are not missed. Those made by the socket with the port id own are natd's and
// not reported: the process id in a notification is that of a thread, and does not tell.
func NewWatcher(own uint32) (*Watcher, error) {
	s, err := nfnl.Dial(1 << 20)
	if err != nil {
		return nil, err
	}
	w := &Watcher{socket: s, own: own}
	if err := s.OnlyType(nfnl.Type(unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_NEWGEN)); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.Join(unix.NFNLGRP_NFTABLES); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return w, nil
}

// Close ends the subscription.
func (w *Watcher) Close() error { return w.socket.Close() }

// Run calls changed for every change until ctx ends: with the process that made it, or with the zero Writer when
// notifications were lost.
func (w *Watcher) Run(ctx context.Context, changed func(Writer)) error {
	return w.socket.Follow(ctx, func(m nfnl.Message) error {
		if m.Type != nfnl.Type(unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_NEWGEN) || m.Port == w.own {
			return nil
		}
		changed(Writer{
			PID:  int(nfnl.Uint32(nfnl.Attr(m.Attrs(), unix.NFTA_GEN_PROC_PID))),
			Name: nfnl.String(nfnl.Attr(m.Attrs(), unix.NFTA_GEN_PROC_NAME)),
		})
		return nil
	}, func() { changed(Writer{}) })
}
