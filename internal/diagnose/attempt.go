package diagnose

import (
	"context"
	"errors"
	"fmt"
	"time"

	"natd/internal/icmp"
	"natd/internal/probe"
	"natd/internal/trace"
	"natd/nat"
)

// How long an attempt is followed from its first packet. A SYN is sent again after 1 s and after 3 s (RFC 6298, 2.1), and a
// segment that is lost after 200 ms and 600 ms or more.
const (
	followOpening = 4500 * time.Millisecond // one that does not get through
	followData    = 2 * time.Second         // one that does
	followEnd     = 200 * time.Millisecond  // one that was refused
)

// mostPackets is how many packets of an attempt are told: a handshake and a request, where they come in and where they leave. What is sent
// again is no news.
const mostPackets = 16

// watchHere waits for an attempt on this host's interfaces, and follows it.
func watchHere(ctx context.Context, what Watched) (*Attempt, error) {
	relay := trace.Relay{Listen: what.Listen, Targets: what.Targets}
	watching, cancel := context.WithTimeout(ctx, what.Patience+followOpening+followData)
	defer cancel()
	stream, err := trace.Watch(watching, relay.Filter())
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	if what.Watching != nil {
		what.Watching()
	}
	f := following{relay: relay, what: what}
	give := time.AfterFunc(what.Patience, cancel)
	defer give.Stop()
	for {
		p, err := stream.Next()
		switch {
		case ctx.Err() != nil:
			return nil, fmt.Errorf("interrupted: %w", ctx.Err())
		case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled):
			return f.attempt(stream.Drops()), nil
		case err != nil:
			return nil, err
		}
		before := f.stage()
		if !f.see(p) {
			continue
		}
		give.Reset(f.left())
		if f.stage() == before {
			continue
		}
		if err := stream.Refilter(f.seen.Filter()); err != nil { // nothing else matters from here on, however busy the host is
			return nil, err
		}
	}
}

// following is the first attempt that came.
type following struct {
	relay  trace.Relay
	what   Watched
	seen   *trace.Attempt
	began  time.Time // by the clock of this process
	lines  []string
	untold int // packets
}

// stage is how far it got, as far as that decides what belongs to it.
func (f *following) stage() Stage {
	switch {
	case f.seen == nil:
		return NothingCame
	case f.seen.Forwarded.Seen():
		return SentOn
	}
	return Arrived
}

// see takes the next packet, and tells whether it is of the attempt.
func (f *following) see(p trace.Packet) bool {
	if f.seen == nil {
		a, begins := f.relay.Begin(p)
		if !begins || f.what.Client.IsValid() && a.Client.Addr() != f.what.Client {
			return false
		}
		f.seen, f.began = a, time.Now()
	} else if !f.seen.See(p) {
		return false
	}
	if f.again() || len(f.lines) == mostPackets {
		f.untold++
	} else {
		f.lines = append(f.lines, p.String())
	}
	return true
}

// again tells whether the first attempt is over, because somebody has sent its part of the handshake again.
func (f *following) again() bool { return f.seen.Opening.Times > 1 || f.seen.Answer.Times > 1 }

// left is how much longer it is followed.
func (f *following) left() time.Duration {
	whole := followOpening
	switch {
	case f.refused() || f.seen.Own.Seen() || f.seen.Refused.Seen() || f.seen.Whole() && f.seen.Proto != trace.TCP:
		return followEnd
	case f.seen.Whole():
		return min(followData, max(followEnd, followOpening-time.Since(f.began)))
	}
	return max(followEnd, whole-time.Since(f.began))
}

// refused tells whether the client was told that there is nobody.
func (f *following) refused() bool { return f.seen.Returned.Seen() && refusal(&f.seen.Answer) }

func refusal(s *trace.Sight) bool {
	return s.Seen() && (s.Flags&trace.RST != 0 || s.Proto == trace.ICMP || s.Proto == trace.ICMPv6)
}

// attempt is what was seen.
func (f *following) attempt(drops int) *Attempt {
	if f.seen == nil {
		return &Attempt{}
	}
	t := f.seen
	a := &Attempt{
		Client: t.Client, Listen: t.Listen, Protocol: nat.Protocol(t.Proto), Link: t.Opening.Device, Stage: stageOf(t), SentTo: t.Target, SentFrom: t.Source, Refused: refusal(&t.Answer),
		OwnReset: t.Own.Seen() && t.Own.Proto == trace.TCP && t.Own.Flags&trace.RST != 0, Repeats: t.Opening.Times - 1, Answers: t.Returned.Times,
		Stalled: stalled(t), Transcript: f.lines,
	}
	if t.Answer.Seen() && t.Answer.Quoted.Proto != 0 {
		a.ICMP = probe.ICMP{Message: icmp.Message(t.Answer.ICMP), From: t.Answer.Src.Addr()}
	}
	if f.untold > 0 {
		more := fmt.Sprintf("and %d more packets", f.untold)
		if t.Opening.Times > 1 {
			more += fmt.Sprintf("; the client sent its first one %d times", t.Opening.Times)
		}
		a.Transcript = append(a.Transcript, more)
	}
	if drops > 0 {
		a.Transcript = append(a.Transcript, fmt.Sprintf("%d packets were lost to the watch: this host is busy", drops))
	}
	return a
}

func stageOf(t *trace.Attempt) Stage {
	if t.Refused.Seen() && t.Returned.Seen() && !refusal(&t.Answer) {
		return Completed // a client that only looks whether the port is open
	}
	return [...]Stage{Arrived, SentOn, TargetAnswered, AnswerSent, Completed}[t.Stage()]
}

// large is a payload that a path for small packets may not carry, in bytes: what IPv4 guarantees is 576 with its headers.
const large = 536

// stalled tells whether large segments do not get through while small ones do.
func stalled(t *trace.Attempt) bool {
	for _, d := range []*trace.Data{&t.ToTarget, &t.ToClient} {
		if length, times := d.Stuck(); length > large && times > 2 {
			return true
		}
	}
	return t.FromTarget.Missing > large || t.FromClient.Missing > large
}
