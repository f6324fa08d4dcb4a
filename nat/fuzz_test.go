package nat

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// What comes from the kernel was put there by whoever may: reading it never fails, whatever it is.

func FuzzDecodeComment(f *testing.F) {
	f.Add(encodeComment("web"))
	f.Add([]byte{1, 4, 0, 0, 0, 2, 0, 4, 'w', 'e', 'b', 0})
	f.Add([]byte{0, 255, 'w'})
	f.Fuzz(func(t *testing.T, b []byte) {
		if comment := decodeComment(b); len(comment) > len(b) {
			t.Errorf("a comment of %d bytes in %d", len(comment), len(b))
		}
	})
}

func FuzzDecodeElement(f *testing.F) {
	s := Set{Key: families()[0].endpoint, Data: []Field{addr4Field(), portField()}, Counter: true}
	e := build(web()).set(f, "relays4").Elements[0]
	e.Count = &Count{3, 180}
	b := nfnl.NewBatch(0)
	begin := b.Len()
	w := elementWriter{Builder: &b.Builder, set: &s, whole: true}
	w.write(&e)
	f.Add(b.Payload()[begin+unix.SizeofNlAttr:])
	f.Fuzz(func(_ *testing.T, b []byte) {
		e := newElementReader().decode(b)
		_ = e.text(&s)
		_ = e.Text()
	})
}

func FuzzDecodeSet(f *testing.F) {
	b := nfnl.NewBatch(0)
	begin := b.Len()
	newSet(b, &Set{Name: "s", Key: []Field{addr4Field(), portField()}, Data: []Field{addr4Field()}, Counter: true}, 1)
	f.Add(b.Payload()[begin+nfnl.HeaderLen:])
	f.Fuzz(func(t *testing.T, b []byte) {
		if s := decodeSet(b); fieldsLen(s.Key) > 16*len(s.Key) {
			t.Errorf("%d fields take %d bytes", len(s.Key), fieldsLen(s.Key))
		}
	})
}

func FuzzCanonical(f *testing.F) {
	for _, c := range damaged().Chains {
		for _, r := range c.Rules {
			f.Add(r.exprs)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if form := canonical(b); len(form) > 0 && form[0] != '[' {
			t.Errorf("%q is no list of expressions", form)
		}
		if canonical(b) != canonical(bytes.Clone(b)) {
			t.Error("the same expressions have two forms")
		}
	})
}
