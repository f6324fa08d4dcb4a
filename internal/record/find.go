package record

import (
	"cmp"
	"net/netip"
	"slices"
)

// Life is a connection over all of the windows that have records of it.
type Life struct {
	Flow
	Windows int
}

// Distance is how many seconds lie between a life and a span of time: 0 where they meet, negative when the life ended before.
func (l *Life) Distance(from, until int64) int64 {
	switch {
	case l.End < from:
		return l.End - from
	case l.Start > until:
		return l.Start - until
	}
	return 0
}

// Finder looks for connections that lived at some time. Flows are added in the order of the log.
type Finder struct {
	From, Until int64 // Unix seconds, both included

	lives  []Life
	latest map[tuples]int // index of the last life of a connection
}

// tuples tell a connection from every other one that lives at the same time.
type tuples struct {
	protocol                     uint8
	client, listen, snat, target netip.AddrPort
}

// The bounds on the memory of a Finder: beyond the first, only the nearest lives are kept.
const (
	livesHeld = 4096
	livesKept = 1024
)

// Add takes the flow of one window.
func (s *Finder) Add(f Flow) {
	if s.latest == nil {
		s.latest = make(map[tuples]int)
	}
	key := tuples{f.Protocol, f.Client, f.Listen, f.SNAT, f.Target}
	if i, ok := s.latest[key]; ok && s.lives[i].goesOn(&f) {
		s.lives[i].extend(&f)
		return
	}
	s.latest[key] = len(s.lives)
	s.lives = append(s.lives, Life{Flow: f, Windows: 1})
	if len(s.lives) == livesHeld {
		s.lives = s.Nearest(livesKept)
		clear(s.latest)
		for i := range s.lives {
			l := &s.lives[i]
			s.latest[tuples{l.Protocol, l.Client, l.Listen, l.SNAT, l.Target}] = i
		}
	}
}

// Nearest returns at most n lives, the nearest first; of those that tie the later one.
func (s *Finder) Nearest(n int) []Life {
	all := slices.Clone(s.lives)
	away := func(l *Life) int64 { d := l.Distance(s.From, s.Until); return max(d, -d) }
	slices.SortStableFunc(all, func(a, b Life) int {
		return cmp.Or(cmp.Compare(away(&a), away(&b)), cmp.Compare(b.Start, a.Start))
	})
	return all[:min(n, len(all))]
}

// silence is how long, in seconds, a connection whose beginning cannot be seen may be without records and still be the same: the longest window.
const silence = 600

// goesOn tells whether a flow is of the same life. TCP tells by its SYN that a new one began; what was silent for long is taken for one.
func (l *Life) goesOn(f *Flow) bool {
	if l.ToTarget.TCPFlags|l.ToClient.TCPFlags != 0 {
		return f.ToTarget.TCPFlags&SYN == 0 || f.Start < l.End
	}
	return f.Start-l.End <= silence
}

func (l *Life) extend(f *Flow) {
	l.Windows++
	l.Start, l.End = min(l.Start, f.Start), max(l.End, f.End)
	l.Records += f.Records
	l.ToTarget.add(f.ToTarget)
	l.ToClient.add(f.ToClient)
}

func (v *Volume) add(more Volume) {
	v.Packets += more.Packets
	v.Bytes += more.Bytes
	v.TCPFlags |= more.TCPFlags
}
