package flow

import (
	"regexp"
	"strconv"
	"testing"

	"natd/internal/lab"
)

// TestStats drops connections for want of a source port, and compares with what conntrack -S says.
func TestStats(t *testing.T) {
	t.Parallel()
	c := newTracker(t)
	lab.Check(t, c.host.Nft(t.Context(), `table ip t {
		chain post { type nat hook postrouting priority srcnat; udp dport 9 snat to 127.0.0.1:40000; }
	}`))
	for range 3 {
		conn, err := c.host.Dial(t.Context(), "udp", "127.0.0.1:9")
		lab.Check(t, err)
		_, _ = conn.Write([]byte("x")) // the second and third are dropped, and told so
		lab.Check(t, conn.Close())
	}
	got, err := c.Stats()
	lab.Check(t, err)
	if got.InsertFailed == 0 || got.Drop == 0 {
		t.Errorf("%+v: nothing failed", got)
	}
	want := make(map[string]uint64)
	for _, field := range regexp.MustCompile(`(\w+)=(\d+)`).FindAllStringSubmatch(c.host.Output(t, "conntrack", "-S"), -1) {
		n, err := strconv.ParseUint(field[2], 10, 64)
		lab.Check(t, err)
		want[field[1]] += n
	}
	for name, n := range map[string]uint64{
		"invalid": got.Invalid, "insert_failed": got.InsertFailed, "drop": got.Drop, "early_drop": got.EarlyDrop, "error": got.Error,
		"search_restart": got.SearchRestart, "clash_resolve": got.ClashResolve, "chaintoolong": got.ChainTooLong,
	} {
		if known, ok := want[name]; ok && known != n {
			t.Errorf("%s is %d, conntrack -S says %d", name, n, known)
		}
	}
	if _, ok := want["insert_failed"]; !ok {
		t.Errorf("conntrack -S is not understood: %v", want)
	}
}
