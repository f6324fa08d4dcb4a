package load

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// clients is how many addresses connections come from in turn, so that ports never run out.
	clients = 200
	// giveUp is when a connection without an answer has failed: a lost packet is sent again after a second.
	giveUp = 3 * time.Second
	// crowd bounds the connections that are open at a time at a given rate.
	crowd = 4096
)

// question is what a connection says; it is what comes back.
var question = [4]byte{askEcho, 'n', 'a', 't'} //nolint:gochecknoglobals // read-only: Go has no constant arrays

// attempt is a connection under way.
type attempt struct {
	began time.Time // when it should have begun
	asked bool
}

// dialer makes connections, on one thread.
type dialer struct {
	spec    Spec
	poll    *poller
	open    map[int]*attempt
	next    int       // the client that dials next
	start   time.Time // of the time that counts
	end     time.Time
	planned int64 // connections begun, at a given rate
	result  Result
}

// connect makes connections until the time is up.
func connect(spec Spec) (Result, error) {
	poll, err := newPoller()
	if err != nil {
		return Result{}, err
	}
	defer poll.close()
	now := time.Now()
	d := &dialer{spec: spec, poll: poll, open: make(map[int]*attempt), start: now.Add(spec.Warm), end: now.Add(spec.Warm + spec.Duration)}
	err = d.run(now)
	for fd := range d.open {
		_ = unix.Close(fd)
	}
	d.result.Took = spec.Duration
	return d.result, err
}

func (d *dialer) run(began time.Time) error {
	sweep := began.Add(giveUp)
	for {
		now := time.Now()
		if d.over(now) {
			return nil
		}
		if now.After(sweep) {
			sweep = now.Add(giveUp / 4)
			d.giveUp(now)
		}
		d.begin(began, now)
		ms := 0 // at a given rate it spins: a sleep would be late
		if d.spec.Kind == Connect {
			ms = 10
		}
		ready, err := d.poll.wait(ms)
		if err != nil {
			return err
		}
		for _, e := range ready {
			d.ready(int(e.Fd))
		}
	}
}

// over tells whether the load is at its end. At a given rate the last connections are waited for: the slow ones count above all.
func (d *dialer) over(now time.Time) bool {
	return !now.Before(d.end) && (d.spec.Kind == Connect || len(d.open) == 0)
}

// begin begins the connections that are due.
func (d *dialer) begin(began, now time.Time) {
	if !now.Before(d.end) {
		return
	}
	if d.spec.Kind == Connect {
		for tries := 0; len(d.open) < d.spec.Workers && tries < d.spec.Workers; tries++ {
			d.dial(time.Now())
		}
		return
	}
	for len(d.open) < crowd {
		due := began.Add(time.Duration(d.planned) * time.Second / time.Duration(d.spec.Rate))
		if due.After(now) || !due.Before(d.end) {
			return
		}
		d.planned++
		d.dial(due)
	}
}

func (d *dialer) dial(due time.Time) {
	d.next = (d.next + 1) % clients
	from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, 1, byte(d.next + 1)}), 0)
	fd, err := dial(from, d.spec.To)
	if err != nil {
		d.fail(due, err)
		return
	}
	if err := d.poll.add(fd, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLET); err != nil {
		_ = unix.Close(fd)
		d.fail(due, err)
		return
	}
	d.open[fd] = &attempt{began: due}
}

// ready goes on with a connection that has become writable or readable.
func (d *dialer) ready(fd int) {
	a := d.open[fd]
	if a == nil {
		return
	}
	if !a.asked {
		if _, err := unix.Write(fd, question[:]); err != nil {
			if !errors.Is(err, unix.EAGAIN) {
				d.drop(fd, a, fmt.Errorf("asking: %w", err))
			}
			return
		}
		a.asked = true
	}
	var answer [len(question)]byte
	switch n, err := unix.Read(fd, answer[:]); {
	case errors.Is(err, unix.EAGAIN):
	case err != nil:
		d.drop(fd, a, fmt.Errorf("hearing the answer: %w", err))
	case answer != question:
		d.drop(fd, a, fmt.Errorf("the answer is %q", answer[:n]))
	default:
		d.done(fd, a)
	}
}

// done ends a connection that was answered. It counts by the time of its end, at a given rate by when it should have begun.
func (d *dialer) done(fd int, a *attempt) {
	now := time.Now()
	delete(d.open, fd)
	_ = unix.Close(fd)
	d.result.Total++
	if d.counts(a.began, now) {
		d.result.Opened++
		d.result.Latency.Add(now.Sub(a.began))
	}
}

// counts tells whether a connection is in the time that counts.
func (d *dialer) counts(began, now time.Time) bool {
	if d.spec.Kind == Rate {
		return !began.Before(d.start) // none begins after the end
	}
	return !now.Before(d.start) && now.Before(d.end)
}

func (d *dialer) drop(fd int, a *attempt, err error) {
	delete(d.open, fd)
	_ = unix.Close(fd)
	d.fail(a.began, err)
}

func (d *dialer) fail(began time.Time, err error) {
	if !d.counts(began, time.Now()) {
		return
	}
	d.result.Failed++
	if d.result.Why == "" {
		d.result.Why = err.Error()
	}
}

// giveUp gives up connections that have no answer after so long.
func (d *dialer) giveUp(now time.Time) {
	for fd, a := range d.open {
		if now.Sub(a.began) > giveUp {
			d.drop(fd, a, fmt.Errorf("no answer within %v", giveUp))
		}
	}
}
