package nat

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

const benchRelays = 100_000

// reportCPU makes the benchmark report the time of processors: on a machine with other work the time on the clock says little.
func reportCPU(b *testing.B) {
	b.Helper()
	used := func() time.Duration {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	begin := used()
	b.Cleanup(func() { b.ReportMetric(float64((used()-begin).Microseconds())/1000/float64(b.N), "cpu-ms/op") })
}

func BenchmarkBuild(b *testing.B) {
	for name, order := range map[string]func([]Relay){
		"in order": func([]Relay) {},
		"shuffled": func(relays []Relay) {
			r := rand.New(rand.NewPCG(1, 2))
			r.Shuffle(len(relays), func(i, j int) { relays[i], relays[j] = relays[j], relays[i] })
		},
	} {
		b.Run(name, func(b *testing.B) {
			s := manyRelays(benchRelays)
			order(s.relays)
			spec, places := s.placed()
			var want *Ruleset
			kept := float64(retained(func() { want = Build(spec, places) }))
			runtime.KeepAlive(want)
			reportCPU(b)
			for b.Loop() {
				want = Build(spec, places)
			}
			b.ReportMetric(kept/1e6, "MB-kept")
		})
	}
}

// BenchmarkRebuild builds a ruleset after one that differs in a relay.
func BenchmarkRebuild(b *testing.B) {
	spec, places := manyRelays(benchRelays).placed()
	changed := manyRelays(benchRelays)
	changed.relays[benchRelays/2].Backends[0].Addr = addr("10.66.0.1")
	nextSpec, nextPlaces := changed.placed()
	again := new(Rebuilder)
	again.Build(spec, places)
	runtime.GC()
	b.ReportAllocs()
	reportCPU(b)
	for b.Loop() {
		again.Build(nextSpec, nextPlaces)
		spec, places, nextSpec, nextPlaces = nextSpec, nextPlaces, spec, places
	}
}

// retained is how many bytes stay that the function has allocated.
func retained(f func()) int {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return int(after.HeapAlloc) - int(before.HeapAlloc)
}

func BenchmarkDiffEqual(b *testing.B) {
	want := manyRelays(benchRelays).build()
	have := asTable(want)
	runtime.GC()
	reportCPU(b)
	for b.Loop() {
		if !Diff(want, have, Hold{Protect: ProtectOff}).Empty() {
			b.Fatal("the same differs")
		}
	}
}

func BenchmarkDiffOneChanged(b *testing.B) {
	have := asTable(manyRelays(benchRelays).build())
	changed := manyRelays(benchRelays)
	changed.relays[benchRelays/2].Backends[0].Addr = addr("10.66.0.1")
	want := changed.build()
	runtime.GC()
	reportCPU(b)
	for b.Loop() {
		if Diff(want, have, Hold{Protect: ProtectOff}).Empty() {
			b.Fatal("the change is not seen")
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	p := Diff(manyRelays(benchRelays).build(), &Table{}, Hold{Protect: ProtectOff})
	runtime.GC()
	reportCPU(b)
	for b.Loop() {
		p.encode(nfnl.NewBatch(0), Hold{Protect: ProtectOff})
	}
}

func BenchmarkDecode(b *testing.B) {
	want := manyRelays(benchRelays).build()
	var lists [][]byte
	for i := range want.Sets {
		batch := nfnl.NewBatch(0)
		begin := batch.Len()
		changeElements(batch, unix.NFT_MSG_NEWSETELEM, &want.Sets[i], want.Sets[i].Elements)
		for _, attrs := range messages(batch.Payload()[begin:]) {
			lists = append(lists, nfnl.Attr(attrs, unix.NFTA_SET_ELEM_LIST_ELEMENTS))
		}
	}
	runtime.GC()
	reportCPU(b)
	for b.Loop() {
		reader := newElementReader()
		var elements []Element
		for _, list := range lists {
			for _, e := range nfnl.Attrs(list) {
				elements = append(elements, reader.decode(e))
			}
		}
		if len(elements) < benchRelays {
			b.Fatalf("%d elements", len(elements))
		}
	}
}
