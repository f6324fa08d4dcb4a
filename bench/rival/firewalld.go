package rival

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"natd/bench/arena"
	"natd/internal/lab"
)

// Firewalld relays with the forward ports of firewalld and its masquerading, in the default zone, permanent. Where relays have sources,
// each of these is a rich rule.
func Firewalld() arena.Candidate { return firewalld{} }

type firewalld struct{}

// Name is the name of the candidate.
func (firewalld) Name() string { return "firewalld" }

// Start starts firewalld with a zone that has all relays.
func (firewalld) Start(ctx context.Context, a *arena.Arena, j arena.Job) (arena.Running, error) {
	for _, name := range []string{"firewalld", "dbus-daemon"} {
		if _, err := exec.LookPath(name); err != nil {
			return nil, fmt.Errorf("%w: %s is not installed here", arena.ErrBeyond, name)
		}
	}
	f, err := a.B.StartFirewalld(ctx, zone(j))
	if err != nil {
		return nil, err
	}
	w := &walled{Firewalld: f, job: j}
	if err := answers(ctx, a, j, f.Process); err != nil {
		return nil, w.giveUp(err)
	}
	return w, nil
}

// zone has the forward ports of a job. Those that hold for one address of the host only are rich rules, too.
func zone(j arena.Job) string {
	var text strings.Builder
	text.WriteString("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<zone>\n<masquerade/>\n")
	for i := range j.Relays {
		l, t := j.Listen(i), j.Target(i)
		port := fmt.Sprintf(`<forward-port port="%d" protocol=%q to-port="%d" to-addr="%v"/>`, l.Port(), j.Protocol(), t.Port(), t.Addr())
		for _, p := range j.Sources(i) {
			fmt.Fprintf(&text, "<rule family=\"ipv4\"><source address=\"%v\"/><destination address=\"%v\"/>%s</rule>\n", p, l.Addr(), port)
		}
		switch {
		case j.Prefixes > 0:
		case l.Addr() != j.Listen(0).Addr():
			fmt.Fprintf(&text, "<rule family=\"ipv4\"><destination address=\"%v\"/>%s</rule>\n", l.Addr(), port)
		default:
			text.WriteString(port + "\n")
		}
	}
	return text.String() + "</zone>\n"
}

// walled is firewalld at work.
type walled struct {
	*lab.Firewalld
	job arena.Job
}

// Stop ends it, with all its rules.
func (w *walled) Stop(context.Context) error { return w.Firewalld.Stop() }

// giveUp ends it without asking: while it loads rules it does not listen.
func (w *walled) giveUp(why error) error { return errors.Join(why, w.Kill()) }

// PIDs is firewalld's.
func (w *walled) PIDs() []int { return []int{w.PID()} }

// Change takes the relay that is another out, and puts it in again.
func (w *walled) Change(ctx context.Context, is arena.Job) error {
	for _, c := range []struct {
		verb string
		job  arena.Job
	}{{"remove", w.job}, {"add", is}} {
		if err := w.Shell(ctx, "firewall-cmd --quiet"+options(c.verb, c.job, c.job.Hit())); err != nil {
			return err
		}
	}
	w.job = is
	return nil
}

// options are those of firewall-cmd for a relay.
func options(verb string, j arena.Job, i int) string {
	l, t := j.Listen(i), j.Target(i)
	if j.Prefixes == 0 && l.Addr() == j.Listen(0).Addr() {
		return fmt.Sprintf(" --%s-forward-port=port=%d:proto=%s:toport=%d:toaddr=%v", verb, l.Port(), j.Protocol(), t.Port(), t.Addr())
	}
	var text strings.Builder
	port := fmt.Sprintf("destination address=%v forward-port port=%d protocol=%s to-port=%d to-addr=%v", l.Addr(), l.Port(), j.Protocol(), t.Port(), t.Addr())
	for _, p := range j.Sources(i) {
		fmt.Fprintf(&text, " --%s-rich-rule='rule family=ipv4 source address=%v %s'", verb, p, port)
	}
	if j.Prefixes == 0 {
		fmt.Fprintf(&text, " --%s-rich-rule='rule family=ipv4 %s'", verb, port)
	}
	return text.String()
}
