package diagnose

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"time"

	"natd/internal/config"
	"natd/internal/control"
	"natd/internal/flow"
	"natd/internal/probe"
	"natd/internal/trace"
	"natd/nat"
	"natd/netconf"
)

// Looker gathers the evidence in the network namespace that it runs in. It changes nothing.
type Looker struct {
	Config  *config.Config  // nil when there is none that can be read; then Status must be there
	Status  *control.Status // nil when natd does not answer
	Silence error           // why it does not

	Again    func(context.Context) (*control.Status, error) // asks natd once more
	Changes  func(context.Context) ([]string, error)        // what natd would change, a line each
	Filters  func(context.Context) (Walker, error)          // reads all chains of the host
	Probes   Prober
	Watch    func(context.Context, Watched) (*Attempt, error) // waits for an attempt of a client
	Progress func(string)                                     // hears of what takes long
	Now      func() time.Time
}

// Walker says what the chains of the host do to the packets of a way, by the place where they meet them.
type Walker interface {
	Walk(*Way) map[Place][]Filter
}

// Prober makes own attempts, of a few packets each: see package probe.
type Prober interface {
	Connect(context.Context, probe.Dial) probe.Outcome
	Ping(ctx context.Context, from, to netip.Addr) probe.Outcome
	PathMTU(ctx context.Context, from, to netip.Addr) probe.MTU
}

// Watched is what attempts of clients are told by.
type Watched struct {
	Listen   []trace.End // what clients dial
	Client   netip.Addr  // invalid = any
	Targets  []trace.End
	Patience time.Duration // for the first packet
	Watching func()        // called when the watch stands
}

// look is one gathering of evidence.
type look struct {
	*Looker
	ev        *Evidence
	spec      *nat.Spec
	index     *nat.Index
	host      *netconf.Host
	sysctls   *netconf.Sysctls
	conntrack *flow.Conntrack
	addresses []netconf.Address
	listeners []netconf.Listener
	targets   map[string]map[netip.AddrPort]uint64 // that natd's table leads to, by the name of the relay
	ages      ages
	began     time.Time
}

// Look gathers the evidence that the question needs. The error is that the question is about a relay that is not there, or that the
// kernel could not be asked.
func (l *Looker) Look(ctx context.Context, q Question) (ev *Evidence, err error) {
	k := &look{Looker: l, ev: &Evidence{At: l.Now(), Asked: q}, spec: l.spec(), began: time.Now()}
	if k.host, err = netconf.Open(); err != nil {
		return nil, err
	}
	defer k.host.Close()
	if k.sysctls, err = netconf.OpenSysctls(""); err != nil { // nothing is changed, so nothing is remembered
		return nil, err
	}
	if k.conntrack, err = flow.Open(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, k.conntrack.Close()) }()
	for _, part := range []func(context.Context) error{k.lookAtDaemon, k.lookAtTable, k.lookAtHost} {
		if err := part(ctx); err != nil {
			return nil, err
		}
	}
	if err := k.choose(q); err != nil {
		return nil, err
	}
	return k.ev, k.lookAtWays(ctx)
}

// spec is what natd is to do: by its file, or by its own words when the file is another than the one that runs.
func (l *Looker) spec() *nat.Spec {
	if l.Config != nil && (l.Status == nil || l.Status.Config.SHA256 == l.Config.SHA256) {
		return &l.Config.NAT
	}
	return specOf(l.Status)
}

// lookAtDaemon takes over what natd says.
func (k *look) lookAtDaemon(context.Context) error {
	d := &k.ev.Daemon
	if k.Config != nil {
		d.Config = k.Config.Path
		k.ev.Host.Forbidden = !k.Config.Host.IPForward
	}
	if k.Status == nil {
		if k.Silence != nil {
			d.Silence = k.Silence.Error()
			d.Busy = errors.Is(k.Silence, os.ErrDeadlineExceeded) || errors.Is(k.Silence, context.DeadlineExceeded)
		}
		return nil
	}
	s := k.Status
	d.Running, d.InSync, d.LastError, d.Stale = true, s.Ruleset.InSync, s.Ruleset.LastError, s.Config.Error
	d.Config = orElse(s.Config.Path, d.Config)
	d.Flushed = !s.Ruleset.InSync && d.LastError == flushed
	if k.Config == nil || s.Config.SHA256 != k.Config.SHA256 {
		k.ev.Host.Unread = append(k.ev.Host.Unread, fmt.Sprintf("%s is not what natd runs: natctl check, then natctl reload", d.Config))
	}
	return nil
}

// flushed is what natd says after natctl flush.
const flushed = "removed by natctl flush; natctl reload programs it again"

// lookAtTable reads natd's table from the kernel.
func (k *look) lookAtTable(ctx context.Context) (err error) {
	kernel, err := nat.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kernel.Close()) }()
	t := &k.ev.Table
	table, err := kernel.Read()
	if errors.Is(err, fs.ErrPermission) {
		return err
	} else if err != nil {
		t.Unreadable = err.Error()
		return nil
	}
	t.Exists, k.targets = table.Exists, table.TargetConnections()
	if k.Status != nil || !t.Exists {
		return nil // natd compares by itself
	}
	changes, err := k.Changes(ctx)
	if err != nil {
		k.unread("how natd's table should be: %v", err)
		return nil
	}
	t.Changes = changes
	return nil
}

func (k *look) unread(format string, args ...any) {
	k.ev.Host.Unread = append(k.ev.Host.Unread, fmt.Sprintf(format, args...))
}

// lookAtWays gathers what the chosen ways need. What takes long is done for all of them at the same time.
func (k *look) lookAtWays(ctx context.Context) error {
	if len(k.ev.Ways) == 0 {
		return nil
	}
	if err := k.watch(ctx); err != nil {
		return err
	}
	first, err := k.flows()
	if err != nil {
		return err
	}
	before := k.counters()
	for i := range k.ev.Ways {
		k.place(&k.ev.Ways[i], first)
	}
	if err := k.filter(ctx); err != nil {
		return err
	}
	k.probe(ctx)
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted: %w", ctx.Err())
	}
	return k.lookAgain(ctx, first, before)
}

// filter asks what the host's chains do.
func (k *look) filter(ctx context.Context) error {
	walker, err := k.Filters(ctx)
	if err != nil {
		k.unread("the packet filters of other programs: %v", err)
		return nil
	}
	for i := range k.ev.Ways {
		if w := &k.ev.Ways[i]; w.Target.IsValid() && w.Relay.Enabled {
			w.Filters = walker.Walk(w)
		}
	}
	return nil
}
