package firewall

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// plain is an expression whose effect on the walk is always the same: most of them let the rule go on.
type plain struct {
	result tri
	words  string
}

func (e *plain) eval(*machine) tri { return e.result }

func (e *plain) text(p *printer) { p.word(e.words) }

// counter counts packets.
type counter struct{ packets, bytes uint64 }

func decodeCounter(b []byte) *counter {
	return &counter{nfnl.Uint64(nfnl.Attr(b, unix.NFTA_COUNTER_PACKETS)), nfnl.Uint64(nfnl.Attr(b, unix.NFTA_COUNTER_BYTES))}
}

func (*counter) eval(*machine) tri { return yes }

func (c *counter) text(p *printer) {
	p.word(fmt.Sprintf("counter packets %d bytes %d", c.packets, c.bytes))
}

func decodeLog(b []byte) expression {
	words := "log"
	if prefix := nfnl.String(nfnl.Attr(b, unix.NFTA_LOG_PREFIX)); prefix != "" {
		words += fmt.Sprintf(" prefix %q", prefix)
	}
	if group := nfnl.Attr(b, unix.NFTA_LOG_GROUP); group != nil {
		words += fmt.Sprintf(" group %d", nfnl.Uint16(group))
	}
	return &plain{yes, words}
}

// decodeLimit reads a limit: whether a packet is within it depends on those before.
func decodeLimit(b []byte) expression {
	rate, unit := nfnl.Uint64(nfnl.Attr(b, unix.NFTA_LIMIT_RATE)), nfnl.Uint64(nfnl.Attr(b, unix.NFTA_LIMIT_UNIT))
	burst := nfnl.Uint32(nfnl.Attr(b, unix.NFTA_LIMIT_BURST))
	words := "limit rate "
	if nfnl.Uint32(nfnl.Attr(b, unix.NFTA_LIMIT_FLAGS))&unix.NFT_LIMIT_F_INV != 0 {
		words += "over "
	}
	words += fmt.Sprintf("%d", rate)
	bytes := nfnl.Uint32(nfnl.Attr(b, unix.NFTA_LIMIT_TYPE)) == unix.NFT_LIMIT_PKT_BYTES
	if bytes {
		words += " bytes"
	}
	words += "/" + timeUnit(unit)
	const usual = 5 // packets that nft takes a burst to be, and does not print
	switch {
	case bytes && burst != 0:
		words += fmt.Sprintf(" burst %d bytes", burst)
	case !bytes && burst != 0 && burst != usual:
		words += fmt.Sprintf(" burst %d packets", burst)
	}
	return &plain{maybe, words}
}

// timeUnit is the name of so many seconds.
func timeUnit(seconds uint64) string {
	const minute, hour = 60, 60 * 60
	switch seconds {
	case 1:
		return "second"
	case minute:
		return "minute"
	case hour:
		return "hour"
	case 24 * hour:
		return "day"
	case 7 * 24 * hour:
		return "week"
	}
	return (time.Duration(min(seconds, 1<<32)) * time.Second).String()
}

func decodeQuota(b []byte) expression {
	over := ""
	if nfnl.Uint32(nfnl.Attr(b, unix.NFTA_QUOTA_FLAGS))&unix.NFT_QUOTA_F_INV != 0 {
		over = "over "
	}
	return &plain{maybe, fmt.Sprintf("quota %s%d bytes", over, nfnl.Uint64(nfnl.Attr(b, unix.NFTA_QUOTA_BYTES)))}
}

// decodeConnlimit reads a limit of connections (enum nft_connlimit_attributes: count, flags).
func decodeConnlimit(b []byte) expression {
	over := ""
	if nfnl.Uint32(nfnl.Attr(b, 2))&1 != 0 {
		over = "over "
	}
	return &plain{maybe, fmt.Sprintf("ct count %s%d", over, nfnl.Uint32(nfnl.Attr(b, 1)))}
}

// decodeObjref reads the use of an object by its name, which decides like an expression of its kind.
func decodeObjref(b []byte) expression {
	name := nfnl.String(nfnl.Attr(b, unix.NFTA_OBJREF_IMM_NAME))
	switch nfnl.Uint32(nfnl.Attr(b, unix.NFTA_OBJREF_IMM_TYPE)) {
	case unix.NFT_OBJECT_COUNTER:
		return &plain{yes, fmt.Sprintf("counter name %q", name)}
	case unix.NFT_OBJECT_QUOTA:
		return &plain{maybe, fmt.Sprintf("quota name %q", name)}
	case unix.NFT_OBJECT_LIMIT:
		return &plain{maybe, fmt.Sprintf("limit name %q", name)}
	case unix.NFT_OBJECT_CT_HELPER:
		return &plain{yes, fmt.Sprintf("ct helper set %q", name)}
	case unix.NFT_OBJECT_CT_TIMEOUT:
		return &plain{yes, fmt.Sprintf("ct timeout set %q", name)}
	}
	return &stranger{what: fmt.Sprintf("object %q", name)}
}

// stranger is an expression that this package does not know. It may match or not, write any register, or end the walk.
type stranger struct{ what string }

func (*stranger) eval(m *machine) tri { return m.undecided() }

func (e *stranger) text(p *printer) { p.word(e.what) }
