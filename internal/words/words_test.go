package words_test

import (
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/words"
)

func TestNumbers(t *testing.T) {
	t.Parallel()
	for n, want := range map[uint64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1<<20 - 1: "1.0 MiB", 1 << 20: "1.0 MiB",
		3 << 30: "3.0 GiB", 1 << 40: "1.0 TiB", 1<<64 - 1: "16.0 EiB",
	} {
		if got := words.Size(n); got != want {
			t.Errorf("Size(%d) = %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		-time.Hour: "0 s", 0: "0 s", 59999 * time.Millisecond: "59 s", time.Minute: "1 min", 59 * time.Minute: "59 min",
		time.Hour: "1 h", 47 * time.Hour: "47 h", 48 * time.Hour: "2 d",
	} {
		if got := words.Span(d); got != want {
			t.Errorf("Span(%s) = %q, want %q", d, got, want)
		}
	}
	for want, list := range map[string][]string{"": nil, "a": {"a"}, "a +2": {"a", "b", "c"}} {
		if got := words.List(list); got != want {
			t.Errorf("List(%q) = %q, want %q", list, got, want)
		}
	}
}

func TestBackend(t *testing.T) {
	t.Parallel()
	for want, b := range map[string]control.Backend{
		"10.3.0.1:80":               {Address: "10.3.0.1:80", State: control.BackendUp},
		"10.3.0.2:80 draining":      {Address: "10.3.0.2:80", State: control.BackendDraining},
		"10.3.0.3:80 (c.test) down": {Name: "c.test", Address: "10.3.0.3:80", State: control.BackendDown},
		"d.test":                    {Name: "d.test", State: control.BackendUnknown},
	} {
		if got := words.Backend(&b); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestFlowLog(t *testing.T) {
	t.Parallel()
	for want, l := range map[string]control.FlowLog{
		"vpc-v5 every 1 min":      {Format: "vpc-v5", Interval: "1m0s"},
		"json every 90 s":         {Format: "json", Interval: "1m30s"},
		"json every 1.5s":         {Format: "json", Interval: "1.5s"},
		"own format every 10 min": {Format: "${srcaddr} ${dstaddr}", Interval: "10m0s"},
	} {
		if got := words.FlowLog(&l); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
