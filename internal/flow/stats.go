package flow

import (
	"fmt"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// msgGetStatsCPU is IPCTNL_MSG_CT_GET_STATS_CPU of enum cntl_msg_types.
const msgGetStatsCPU = 4

// Attribute numbers: enum ctattr_stats_cpu in linux/netfilter/nfnetlink_conntrack.h.
const (
	ctaStatsInvalid       = 4
	ctaStatsInsertFailed  = 9
	ctaStatsDrop          = 10
	ctaStatsEarlyDrop     = 11
	ctaStatsError         = 12
	ctaStatsSearchRestart = 13
	ctaStatsClashResolve  = 14
	ctaStatsChainTooLong  = 15
)

// Stats is what the kernel counts of connection tracking in the network namespace, of all processors together: what conntrack -S
// prints. Each processor counts in 32 bits and begins anew behind them, so a sum may fall.
type Stats struct {
	Invalid       uint64 // packets that cannot be tracked
	InsertFailed  uint64 // new connections that found no place: no free source port, as a rule
	Drop          uint64 // packets dropped: the table is full, or no free source port
	EarlyDrop     uint64 // entries that were given up for new ones in a full table
	Error         uint64 // malformed packets
	SearchRestart uint64 // lookups that began anew because the table was resized
	ClashResolve  uint64 // connections that two packets began at the same time
	ChainTooLong  uint64 // new connections refused for a chain of the hash table that is too long; from Linux 5.15 on
}

// Stats reads the kernel's counts.
func (c *Conntrack) Stats() (Stats, error) {
	var b nfnl.Builder
	request(&b, msgGetStatsCPU, 0, unix.AF_UNSPEC)
	b.End()
	var s Stats
	err := c.socket.Dump(&b, func(m nfnl.Message) error {
		s.add(m.Attrs())
		return nil
	})
	if err != nil {
		return Stats{}, fmt.Errorf("read the statistics of connection tracking: %w", err)
	}
	return s, nil
}

// add adds what one processor counted. What this kernel does not count stays 0.
func (s *Stats) add(attrs []byte) {
	counts := [...]*uint64{
		ctaStatsInvalid: &s.Invalid, ctaStatsInsertFailed: &s.InsertFailed, ctaStatsDrop: &s.Drop, ctaStatsEarlyDrop: &s.EarlyDrop,
		ctaStatsError: &s.Error, ctaStatsSearchRestart: &s.SearchRestart, ctaStatsClashResolve: &s.ClashResolve,
		ctaStatsChainTooLong: &s.ChainTooLong,
	}
	for typ, payload := range nfnl.Attrs(attrs) {
		if int(typ) < len(counts) && counts[typ] != nil {
			*counts[typ] += uint64(nfnl.Uint32(payload))
		}
	}
}
