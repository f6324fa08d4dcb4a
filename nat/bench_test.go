package nat

import (
	"testing"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

const benchRelays = 100_000

func BenchmarkBuild(b *testing.B) {
	s := manyRelays(benchRelays)
	for b.Loop() {
		s.build()
	}
}

func BenchmarkDiffEqual(b *testing.B) {
	want := manyRelays(benchRelays).build()
	have := asTable(want)
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
	for b.Loop() {
		if Diff(want, have, Hold{Protect: ProtectOff}).Empty() {
			b.Fatal("the change is not seen")
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	p := Diff(manyRelays(benchRelays).build(), &Table{}, Hold{Protect: ProtectOff})
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
	for b.Loop() {
		reader := elementReader{make(map[string]string)}
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
