package nfnl

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// What the Builder writes, Attrs and its relatives read.
func TestAttributesRoundTrip(t *testing.T) {
	t.Parallel()
	var b Builder
	b.Begin(Type(10, 3), unix.NLM_F_CREATE, unix.NFPROTO_INET, 0x1234)
	b.Uint8(1, 0xab)
	b.Uint16(2, 0xabcd)
	b.Uint32(3, 0xdeadbeef)
	b.Uint64(4, 0x0123456789abcdef)
	b.String(5, "table")
	b.Bytes(6, []byte{1, 2, 3, 4, 5})
	outer := b.Nest(7)
	inner := b.Nest(1)
	b.String(1, "counter")
	b.Unnest(inner)
	b.Uint32(2, 7)
	b.Unnest(outer)
	b.Bytes(8, nil)
	b.End()

	attrs := b.Payload()[HeaderLen:]
	for i, got := range []any{
		Attr(attrs, 1)[0], Uint16(Attr(attrs, 2)), Uint32(Attr(attrs, 3)), Uint64(Attr(attrs, 4)), String(Attr(attrs, 5)),
		[5]byte(Attr(attrs, 6)), String(Attr(Attr(Attr(attrs, 7), 1), 1)), Uint32(Attr(Attr(attrs, 7), 2)), len(Attr(attrs, 8)),
	} {
		want := []any{
			byte(0xab), uint16(0xabcd), uint32(0xdeadbeef), uint64(0x0123456789abcdef), "table",
			[5]byte{1, 2, 3, 4, 5},
			"counter", uint32(7), 0,
		}[i]
		if got != want {
			t.Errorf("value %d is read back as %v, want %v", i+1, got, want)
		}
	}
	if Attr(attrs, 9) != nil || Attr(nil, 1) != nil {
		t.Error("an attribute that is not there has a payload")
	}
}

// The layout is that of struct nlmsghdr and struct nfgenmsg, with every attribute padded to four bytes.
func TestMessageLayout(t *testing.T) {
	t.Parallel()
	var b Builder
	b.Begin(Type(10, 3), unix.NLM_F_CREATE, unix.NFPROTO_INET, 0x1234)
	b.Uint8(1, 0xab)
	b.End()
	b.number(42)
	want := binary.NativeEndian.AppendUint32(nil, 28)
	want = binary.NativeEndian.AppendUint16(want, 10<<8|3)
	want = binary.NativeEndian.AppendUint16(want, unix.NLM_F_REQUEST|unix.NLM_F_CREATE)
	want = binary.NativeEndian.AppendUint32(want, 42)
	want = append(want, 0, 0, 0, 0, unix.NFPROTO_INET, unix.NFNETLINK_V0, 0x12, 0x34)
	want = binary.NativeEndian.AppendUint16(want, 5)
	want = binary.NativeEndian.AppendUint16(want, 1)
	want = append(want, 0xab, 0, 0, 0)
	if diff := cmp.Diff(want, b.Payload()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if b.Len() != len(want) || b.Count() != 1 {
		t.Errorf("Len() = %d, Count() = %d", b.Len(), b.Count())
	}
	b.Reset()
	if b.Len() != 0 || b.Count() != 0 {
		t.Errorf("after Reset: Len() = %d, Count() = %d", b.Len(), b.Count())
	}
}

// Malformed input yields what was well formed in front of it.
func TestAttrsOfMalformedInput(t *testing.T) {
	t.Parallel()
	var good Builder
	good.Uint32(1, 7)
	attr := func(size, typ uint16, payload ...byte) []byte {
		b := binary.NativeEndian.AppendUint16(nil, size)
		return append(binary.NativeEndian.AppendUint16(b, typ), payload...)
	}
	for name, c := range map[string]struct {
		tail []byte
		want []uint16
	}{
		"nothing behind":         {nil, []uint16{1}},
		"half a header":          {[]byte{8, 0}, []uint16{1}},
		"longer than it is":      {attr(9, 2, 0, 0, 0, 0), []uint16{1}},
		"shorter than a header":  {attr(3, 2, 0, 0, 0, 0), []uint16{1}},
		"of length zero":         {attr(0, 2), []uint16{1}},
		"empty":                  {attr(4, 2), []uint16{1, 2}},
		"last one without pad":   {attr(5, 2, 9), []uint16{1, 2}},
		"flags in the type":      {attr(4, 2|unix.NLA_F_NESTED), []uint16{1, 2}},
		"net byte order flagged": {attr(4, 2|unix.NLA_F_NET_BYTEORDER), []uint16{1, 2}},
	} {
		var got []uint16
		for typ := range Attrs(slices.Concat(good.Payload(), c.tail)) {
			got = append(got, typ)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: types %v, want %v", name, got, c.want)
		}
	}
}

func TestNumbersOfAnotherLength(t *testing.T) {
	t.Parallel()
	for n := range 10 {
		b := bytes.Repeat([]byte{1}, n)
		if (Uint16(b) != 0) != (n == 2) || (Uint32(b) != 0) != (n == 4) || (Uint64(b) != 0) != (n == 8) {
			t.Errorf("%d bytes are read as %d, %d, %d", n, Uint16(b), Uint32(b), Uint64(b))
		}
	}
}

func TestStringEndsAtZero(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"": "", "a": "a", "a\x00": "a", "a\x00b": "a", "\x00a": ""} {
		if got := String([]byte(in)); got != want {
			t.Errorf("String(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	two := append(message(1, 2, 3, []byte("abcde")), message(4, 5, 6, nil)...)
	for name, c := range map[string]struct {
		datagram []byte
		want     []string
	}{
		"nothing":               {nil, nil},
		"two messages":          {two, []string{"1 2 3 abcde", "4 5 6 "}},
		"the second cut off":    {two[:len(two)-1], []string{"1 2 3 abcde"}},
		"without its padding":   {message(1, 2, 3, []byte("abcde"))[:21], []string{"1 2 3 abcde"}},
		"a length of zero":      {append(message(1, 2, 3, nil), make([]byte, 16)...), []string{"1 2 3 "}},
		"a length beyond":       {binary.NativeEndian.AppendUint32(nil, 1<<31), nil},
		"less than a header":    {two[:15], nil},
		"a header and no more":  {message(1, 2, 3, nil), []string{"1 2 3 "}},
		"garbage behind it all": {append(message(1, 2, 3, nil), 0xff, 0xff), []string{"1 2 3 "}},
	} {
		var got []string
		err := split(c.datagram, func(m Message) error {
			got = append(got, fmt.Sprintf("%d %d %d %s", m.Type, m.Flags, m.Seq, m.Payload))
			return nil
		})
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, %v, want %q", name, got, err, c.want)
		}
	}
	if err := split(two, func(Message) error { return errOfCaller }); !errors.Is(err, errOfCaller) {
		t.Errorf("split: %v, want %v", err, errOfCaller)
	}
}

func TestAttrsOfAShortMessage(t *testing.T) {
	t.Parallel()
	if got := (Message{Payload: []byte{1, 2, 3}}).Attrs(); got != nil {
		t.Errorf("Attrs() = %v", got)
	}
}

func FuzzAttrs(f *testing.F) {
	var b Builder
	b.String(1, "name")
	b.Unnest(b.Nest(2))
	f.Add(b.Payload())
	f.Add([]byte{4, 0, 1, 0, 3, 0, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		for _, payload := range Attrs(b) {
			total += unix.SizeofNlAttr + len(payload)
			for range Attrs(payload) {
				Attr(payload, 1)
			}
		}
		if total > len(b) {
			t.Errorf("%d bytes of attributes in %d bytes", total, len(b))
		}
	})
}

func FuzzSplit(f *testing.F) {
	f.Add(append(message(1, 2, 3, []byte("abcde")), message(unix.NLMSG_ERROR, unix.NLM_F_ACK_TLVS, 6, verdictOf(unix.EPERM, "no"))...))
	f.Add([]byte{16, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		err := split(b, func(m Message) error {
			total += unix.SizeofNlMsghdr + len(m.Payload)
			_ = parseError(m, 0)
			_ = doneError(m)
			m.Attrs()
			return nil
		})
		if err != nil || total > len(b) {
			t.Errorf("%v, %d bytes of messages in %d bytes", err, total, len(b))
		}
	})
}
