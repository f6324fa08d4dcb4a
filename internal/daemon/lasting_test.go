package daemon

import (
	"net/netip"
	"testing"
	"time"

	"natd/internal/flow"
)

// What was read first may be told last, by one who asked for the status: counters have not lost what they had not counted then.
func TestLastingOutOfOrder(t *testing.T) {
	t.Parallel()
	web := lastingKey{owner: flow.Owner{Kind: flow.KindRelay, Name: "web"}}
	second := func(n int64) time.Time { return time.Unix(n, 0) }
	var l lasting
	for _, step := range []struct {
		began, ended int64
		says, total  uint64
	}{
		{1, 1, 10, 10},
		{4, 5, 100, 100},
		{2, 3, 90, 100}, // was on its way
		{3, 6, 95, 100}, // was read at the same time
		{7, 7, 110, 110},
		{8, 8, 5, 110}, // an element went
	} {
		l.take(map[lastingKey]uint64{web: step.says}, second(step.began), second(step.ended), func(flow.Owner) bool { return true })
		l.each(func(_ flow.Owner, _ netip.AddrPort, total uint64) {
			if total != step.total {
				t.Errorf("after %+v the total is %d", step, total)
			}
		})
	}
}
