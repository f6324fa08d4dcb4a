package measure

import (
	"testing"
	"time"
)

func TestApplied(t *testing.T) {
	t.Parallel()
	const log = `time=2026-01-02T03:04:05.000Z level=INFO msg="ruleset changed" steps="make the table" took=1.5s
time=2026-01-02T03:04:06.000Z level=INFO msg=reloaded relays=10 took=9s
time=2026-01-02T03:04:07.000Z level=INFO msg="ruleset changed" steps="map relays4: change 1" took=243µs
`
	if took, err := applied(log); err != nil || took != 243*time.Microsecond {
		t.Errorf("the last change took %v, %v", took, err)
	}
	if _, err := applied("nothing"); err == nil {
		t.Error("found a change where there is none")
	}
}
