package nfnl

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// errOfCaller is the error of a caller who gives up.
const errOfCaller = unix.EDOM

// The kernel answers before the program has sent, as it were: its work is done in the system call, and may take long.
func TestPatienceBeginsBehindTheKernelsWork(t *testing.T) {
	t.Parallel()
	s, kernel := newFake(t)
	s.patience = time.Second / 2
	s.raw = slowSend{s.raw, 2 * s.patience}
	kernel.serve([]reply{data(1), end(0)})
	if err := s.Dump(requests(1), func(Message) error { return nil }); err != nil {
		t.Errorf("Dump: %v", err)
	}
}

// A dump that is not wanted to its end is over at once: here the kernel never ends it.
func TestStop(t *testing.T) {
	t.Parallel()
	s, kernel := newFake(t)
	kernel.serve([]reply{data(1), data(2)})
	enough, got := errors.New("enough"), 0
	err := s.Dump(requests(1), func(Message) error {
		got++
		return Stop(enough)
	})
	if !errors.Is(err, enough) || got != 1 {
		t.Errorf("Dump: %v after %d messages, want %v after the first", err, got, enough)
	}
}

func TestDump(t *testing.T) {
	t.Parallel()
	flagged := data(2)
	flagged.flags = unix.NLM_F_DUMP_INTR
	flaggedEnd := end(0)
	flaggedEnd.flags = unix.NLM_F_DUMP_INTR
	late := data(9)
	late.offset = -1
	for name, c := range map[string]struct {
		answers [][]reply
		got     []byte
		err     error
	}{
		"empty":                    {[][]reply{{end(0)}}, nil, nil},
		"in one datagram":          {[][]reply{{data(1), data(2), end(0)}}, []byte{1, 2}, nil},
		"in many":                  {[][]reply{{data(1)}, {data(2), data(3)}, {end(0)}}, []byte{1, 2, 3}, nil},
		"late answers before":      {[][]reply{{late}, {late, data(1)}, {end(0)}}, []byte{1}, nil},
		"interrupted":              {[][]reply{{data(1), flagged}, {data(3)}, {end(0)}}, []byte{1, 2, 3}, ErrInterrupted},
		"interrupted at the end":   {[][]reply{{data(1)}, {flaggedEnd}}, []byte{1}, ErrInterrupted},
		"refused":                  {[][]reply{{refusal(0, unix.ENOENT, "")}}, nil, fs.ErrNotExist},
		"failed at the end":        {[][]reply{{data(1)}, {end(unix.EBUSY)}}, []byte{1}, unix.EBUSY},
		"failed beats interrupted": {[][]reply{{flagged}, {end(unix.ENOMEM)}}, []byte{2}, unix.ENOMEM},
		"an end without a number":  {[][]reply{{{typ: unix.NLMSG_DONE}}}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, kernel := newFake(t)
			request := kernel.serve(c.answers...)
			var got []byte
			err := s.Dump(requests(1), func(m Message) error {
				got = append(got, m.Attrs()...)
				return nil
			})
			if !errors.Is(err, c.err) {
				t.Errorf("Dump: %v, want %v", err, c.err)
			}
			if diff := cmp.Diff(c.got, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if flags := binary.NativeEndian.Uint16(request()[6:]); flags != unix.NLM_F_REQUEST|unix.NLM_F_DUMP {
				t.Errorf("the request has the flags %#x", flags)
			}
		})
	}
}

// A caller who gives up gets his own error, and the rest of the dump does not disturb what he asks next.
func TestDumpGivenUp(t *testing.T) {
	t.Parallel()
	s, kernel := newFake(t)
	request := kernel.serve([]reply{data(1)}, []reply{data(2)}, []reply{end(0)})
	calls := 0
	err := s.Dump(requests(1), func(Message) error {
		calls++
		return errOfCaller
	})
	if !errors.Is(err, errOfCaller) {
		t.Errorf("Dump: %v, want %v", err, errOfCaller)
	}
	request()
	kernel.serve([]reply{data(7)})
	got := byte(0)
	if err := s.Get(requests(1), func(m Message) error { got = m.Attrs()[0]; return nil }); err != nil || got != 7 {
		t.Errorf("the next request got %d, %v", got, err)
	}
}

func TestGet(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer reply
		each   error
		err    error
	}{
		"answered":          {data(5), nil, nil},
		"refused":           {refusal(0, unix.EPERM, ""), nil, fs.ErrPermission},
		"not understood":    {data(5), errOfCaller, errOfCaller},
		"a short refusal":   {reply{typ: unix.NLMSG_ERROR, payload: []byte{1}}, nil, unix.EBADMSG},
		"an acknowledgment": {refusal(0, 0, ""), nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, kernel := newFake(t)
			kernel.serve([]reply{c.answer})
			if err := s.Get(requests(1), func(Message) error { return c.each }); !errors.Is(err, c.err) {
				t.Errorf("Get: %v, want %v", err, c.err)
			}
		})
	}
}

func TestDo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answers [][]reply
		refused map[int]unix.Errno
	}{
		"all carried out": {[][]reply{{refusal(0, 0, ""), refusal(1, 0, ""), refusal(2, 0, "")}}, map[int]unix.Errno{}},
		"one refused":     {[][]reply{{refusal(0, 0, "")}, {refusal(1, unix.ENOENT, "")}, {refusal(2, 0, "")}}, map[int]unix.Errno{1: unix.ENOENT}},
		"all refused": {
			[][]reply{{refusal(0, unix.EPERM, ""), refusal(1, unix.EPERM, "")}, {refusal(2, unix.EBUSY, "")}},
			map[int]unix.Errno{0: unix.EPERM, 1: unix.EPERM, 2: unix.EBUSY},
		},
		"others in between": {
			[][]reply{{refusal(-1, unix.EIO, ""), data(1)}, {refusal(0, 0, ""), refusal(3, unix.EIO, "")}, {refusal(1, 0, ""), refusal(2, 0, "")}},
			map[int]unix.Errno{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, kernel := newFake(t)
			kernel.serve(c.answers...)
			refused := make(map[int]unix.Errno)
			if err := s.Do(requests(3), func(e *Error) { refused[e.Index] = e.Errno }); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(c.refused, refused); diff != "" {
				t.Errorf("refused (-want +got):\n%s", diff)
			}
		})
	}
	s, _ := newFake(t)
	if err := s.Do(&Builder{}, nil); err != nil {
		t.Errorf("Do of nothing: %v", err)
	}
}

// Sequence numbers go on from request to request, one for each message.
func TestSequenceNumbers(t *testing.T) {
	t.Parallel()
	s, kernel := newFake(t)
	for first, n := uint32(1), 3; n > 0; n-- {
		acks := make([]reply, n)
		for i := range acks {
			acks[i] = refusal(i, 0, "")
		}
		request := kernel.serve(acks)
		if err := s.Do(requests(n), nil); err != nil {
			t.Fatal(err)
		}
		b := request()
		for range n {
			if seq := binary.NativeEndian.Uint32(b[8:]); seq != first {
				t.Errorf("sequence number %d, want %d", seq, first)
			}
			first++
			b = b[HeaderLen:]
		}
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]*Error{
		"operation not permitted":              {Errno: unix.EPERM},
		"file exists: element already in set":  {Errno: unix.EEXIST, Text: "element already in set"},
		"no such file or directory: Try again": {Errno: unix.ENOENT, Text: "Try again"},
	} {
		if e.Error() != want {
			t.Errorf("Error() = %q, want %q", e.Error(), want)
		}
	}
	if err := error(&Error{Errno: unix.EPERM}); !errors.Is(err, fs.ErrPermission) || !errors.Is(err, unix.EPERM) {
		t.Error("the errno is not found in the error")
	}
}

// The kernel's own words are behind the copy of the request's header, if it says that there are any.
func TestParseError(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		flags   uint16
		payload []byte
		want    *Error
	}{
		"acknowledged":    {0, verdictOf(0, ""), nil},
		"refused":         {0, verdictOf(unix.EINVAL, ""), &Error{Errno: unix.EINVAL, Index: 7}},
		"with words":      {unix.NLM_F_ACK_TLVS, verdictOf(unix.EINVAL, "bad hook"), &Error{Errno: unix.EINVAL, Text: "bad hook", Index: 7}},
		"words not meant": {0, verdictOf(unix.EINVAL, "bad hook"), &Error{Errno: unix.EINVAL, Index: 7}},
		"cut off":         {unix.NLM_F_ACK_TLVS, verdictOf(unix.EINVAL, "")[:10], &Error{Errno: unix.EINVAL, Index: 7}},
		"nothing":         {0, nil, &Error{Errno: unix.EBADMSG, Index: 7}},
	} {
		got := parseError(Message{Flags: c.flags, Payload: c.payload}, 7)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Query hands on every answer with the index of its request, and ends with the last acknowledgement.
func TestQuery(t *testing.T) {
	t.Parallel()
	s, kernel := newFake(t)
	answer := func(offset int, n byte) reply {
		r := data(n)
		r.offset = offset
		return r
	}
	kernel.serve([]reply{answer(0, 10), refusal(0, 0, "")}, []reply{refusal(1, unix.ENOENT, ""), answer(2, 12), answer(7, 99), refusal(2, 0, "")})
	got, refused := make(map[int]byte), make(map[int]unix.Errno)
	failed := errors.New("no answer that is understood")
	err := s.Query(requests(3), func(i int, m Message) error {
		got[i] = m.Attrs()[0]
		return failed
	}, func(e *Error) { refused[e.Index] = e.Errno })
	if !errors.Is(err, failed) {
		t.Errorf("Query: %v, want %v", err, failed)
	}
	if diff := cmp.Diff(map[int]byte{0: 10, 2: 12}, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[int]unix.Errno{1: unix.ENOENT}, refused); diff != "" {
		t.Errorf("refused (-want +got):\n%s", diff)
	}
}
