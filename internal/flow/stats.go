package flow

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// Numbers of the statistics: enum cntl_msg_types and enum ctattr_stats_cpu in linux/netfilter/nfnetlink_conntrack.h.
const (
	msgStats = 4

	ctaStatsInsertFailed = 9
	ctaStatsDrop         = 10
	ctaStatsEarlyDrop    = 11
)

// Stats is what went wrong in connection tracking since the boot, in packets and over all CPUs.
type Stats struct {
	InsertFailed uint64 // two wanted the same entry, or no source port was free
	Drop         uint64 // there was no room for a new entry
	EarlyDrop    uint64 // an entry that was not assured made room
}

// Stats reads the statistics.
func (c *Conntrack) Stats() (Stats, error) {
	var b nfnl.Builder
	request(&b, msgStats, 0, unix.AF_UNSPEC)
	b.End()
	var s Stats
	err := c.socket.Dump(&b, func(m nfnl.Message) error {
		for typ, value := range nfnl.Attrs(m.Attrs()) {
			switch typ {
			case ctaStatsInsertFailed:
				s.InsertFailed += uint64(nfnl.Uint32(value))
			case ctaStatsDrop:
				s.Drop += uint64(nfnl.Uint32(value))
			case ctaStatsEarlyDrop:
				s.EarlyDrop += uint64(nfnl.Uint32(value))
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, nfnl.ErrInterrupted) {
		return Stats{}, fmt.Errorf("read the statistics of connection tracking: %w", err)
	}
	return s, nil
}
