package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"natd/internal/config"
	"natd/internal/control"
	"natd/internal/flow"
	"natd/nat"
	"natd/netconf"
	"natd/systemd"
)

// Options is what natd is started with.
type Options struct {
	ConfigPath string
	SocketPath string
	StateDir   string
	Version    string
	Log        *slog.Logger
	Level      *slog.LevelVar // follows [daemon] log_level
	Notify     *systemd.Notifier
}

// Daemon is one running natd. Everything without a lock belongs to the goroutine of Run.
type Daemon struct {
	Options

	kernel    *nat.Kernel
	conntrack *flow.Conntrack
	table     table
	host      *netconf.Host
	sysctls   *netconf.Sysctls
	metadata  *metadata
	flowlog   *flowLog

	cfg       *config.Config
	loadedAt  time.Time
	configErr string // of the last reload
	startedAt time.Time
	flushed   bool // by a request: nothing is repaired until the next reload

	fast     fastPath
	fastTold fast // what the log has of it

	probes *probes
	drains *drains
	resets *resets

	meter   *meter
	lasting lasting // what the kernel's counters said, for when the meter does not run

	reloads sync.Mutex // one reload at a time: the last to come has the last word
	files   *config.Parser

	leaving *leaving
	placed  placed
	former  placed // what the next placing may take over, while placed is empty
	facts   *facts // the last that were gathered

	gathered reading // when all of them were
	index    *nat.Index
	refused  map[string]string // relays and statics that may not take what they want, by name
	tenure   *tenure
	idle     map[string]map[netip.AddrPort]bool // backends that took no connections when natd started, by relay; nil once all are proven

	appeared map[netip.Addr]time.Time // since when the host has each address
	macs     map[string]bool          // of the host's interfaces; nil before the first look

	want   *nat.Ruleset
	builds nat.Rebuilder // of want
	hold   nat.Hold
	sync   syncState

	hostProblems []string
	forwarding   bool // of IPv4, was on after the last pass
	forwarding6  bool // likewise
	ready        bool // READY=1 was sent
	lastStatus   string

	repairs  *rate.Limiter
	looks    *rate.Limiter // of reading the table, see newLooks
	wake     chan struct{}
	requests chan func()
	tidy     *tidy
	web      web
	pulse    pulse
	network  atomic.Bool // links, addresses, routes or host settings may have changed
	limited  atomic.Bool // a relay has limits
	live     atomic.Bool // the health of a backend, or the addresses of a name, may have changed
	others   others
	watcher  *nat.Watcher               // that tells of others; nil before natd serves
	judge    atomic.Pointer[flow.Judge] // for the records of new connections
	tasks    sync.WaitGroup
}

// Repairs of what others do to the table: the first ones at once, then no more than a few a second, so that two programs
// that fight over it do not take the machine down.
const (
	repairBurst = 20
	repairRate  = 4 // a second
)

// Run runs natd until ctx ends. reload is a reload for every value received. An error that a user can act on is a
// *control.Error with the exit code.
func Run(ctx context.Context, o Options, reload <-chan os.Signal) error {
	files := new(config.Parser)
	cfg, err := files.Load(o.ConfigPath)
	if err != nil {
		return control.Errorf(control.CodeConfig, "%w", err)
	}
	release, err := lock(ctx)
	if err != nil {
		return err
	}
	defer release() //nolint:errcheck // the process ends, and the lock with it
	d := &Daemon{
		Options: o, files: files, startedAt: time.Now(),
		repairs: rate.NewLimiter(repairRate, repairBurst), looks: newLooks(), table: newTable(), wake: make(chan struct{}, 1), requests: make(chan func()), tidy: newTidy(),
	}
	defer d.tidy.stop()
	d.resets = newResets(o.Log)
	d.flowlog = newFlowLog(o.Log, os.Stdout, d.poke)
	d.meter = newMeter(d)
	d.meter.sinks, d.flowlog.settle = []flow.Sink{d.flowlog}, d.meter.closeWindow
	d.metadata = newMetadata(o.Log, func() { d.network.Store(true); d.poke() })
	d.probes = newProbes(o, cfg.Daemon.Resolver,
		func() { d.live.Store(true); d.poke() }, func() { d.live.Store(true); d.poke() })
	d.pulse.begin(2 * d.beatInterval())
	d.web.open(o.Log, d.site().handler(), d.poke)
	if err := d.open(); err != nil {
		return errors.Join(err, d.close())
	}
	if err := d.adopt(ctx, cfg); err != nil {
		return errors.Join(err, d.close())
	}
	err = d.serve(ctx, reload)
	return errors.Join(err, d.close())
}

// open connects to the kernel.
func (d *Daemon) open() (err error) {
	if d.kernel, err = nat.Open(); err != nil {
		return err
	}
	if _, err := d.kernel.Generation(); errors.Is(err, os.ErrPermission) {
		return control.Errorf(control.CodeNotPermitted, "natd needs CAP_NET_ADMIN in this network namespace: run it as root or by its unit: %w", err)
	}
	if err := os.MkdirAll(d.StateDir, 0o750); err != nil {
		return fmt.Errorf("make the state directory: %w", err)
	}
	if d.conntrack, err = flow.Open(); err != nil {
		return err
	}
	if d.host, err = netconf.Open(); err != nil {
		return err
	}
	d.sysctls, err = netconf.OpenSysctls(filepath.Join(d.StateDir, ledgerName))
	if err != nil {
		return err
	}
	d.sysctls.Wrote = d.noteSysctl
	var aside string
	if d.drains, aside, err = loadDrains(filepath.Join(d.StateDir, drainsName)); err != nil {
		return err
	}
	if aside != "" {
		d.Log.Error("which backends are drained cannot be understood: none is drained now", "moved_to", aside)
	}
	if d.leaving, err = loadLeaving(filepath.Join(d.StateDir, leavingName)); err != nil {
		d.Log.Warn("connections of gateways and statics that were removed may go on", "error", err)
	}
	if aside := d.sysctls.SetAside(); aside != "" {
		d.Log.Warn("the ledger of changed sysctls cannot be understood: they will not be restored", "moved_to", aside)
	}
	return nil
}

// ledgerName is the file in the state directory that remembers what sysctls were before natd changed them.
const ledgerName = "sysctls.json"

func (d *Daemon) close() error {
	var failed []error
	if d.kernel != nil {
		failed = append(failed, d.kernel.Close())
	}
	if d.conntrack != nil {
		failed = append(failed, d.conntrack.Close())
	}
	if d.host != nil {
		d.host.Close()
	}
	return errors.Join(failed...)
}

// adopt takes the configuration and looks at what an earlier natd left in the kernel. It changes nothing.
func (d *Daemon) adopt(ctx context.Context, cfg *config.Config) error {
	have, err := d.kernel.Read()
	if err != nil {
		return err
	}
	protect, err := protection(d.kernel, cfg)
	if err != nil {
		return err
	}
	addresses, err := d.host.Addresses()
	if err != nil {
		return err
	}
	d.noteAddresses(addresses)
	d.tenure = standing(&cfg.NAT, have, (&facts{addresses: addresses}).local())
	d.idle = have.Idle()
	d.probes.stand(addresses, &cfg.NAT)
	d.probes.learn(ctx, cfg)
	d.use(cfg, protect)
	d.forgetDrains()
	return nil
}

// protection is what the kernel can do of the protection that the configuration wants.
func protection(kernel *nat.Kernel, cfg *config.Config) (nat.Protect, error) {
	want := cfg.Daemon.Protect
	protect, err := kernel.Protection(want)
	if errors.Is(err, nat.ErrUnsupported) {
		return protect, control.Errorf(control.CodeConfig, "%w", &config.Error{
			File: cfg.Path, Table: "daemon", Key: "protect", Value: fmt.Sprintf("%q", want), Rule: err.Error(),
		})
	}
	return protect, err
}

// use makes the configuration the one that runs.
func (d *Daemon) use(cfg *config.Config, protect nat.Protect) {
	d.cfg, d.loadedAt, d.configErr, d.flushed = cfg, time.Now(), "", false
	d.hold = nat.Hold{Protect: protect, Port: d.kernel.Port()}
	d.refused = make(map[string]string)
	d.tenure = d.tenure.of(&cfg.NAT)
	if d.placed.spec != nil {
		d.former = d.placed
	}
	d.placed, d.want = placed{}, nil
	d.fast = fastPath{kernel: d.kernel, sysctls: d.sysctls, asked: d.fast.asked && d.fast.lacks == ""} // what it can, it can
	d.sync.due = true
	d.Level.Set(cfg.Daemon.LogLevel)
	d.metadata.enable(cfg.Host.Metadata)
	d.meter.enable(meteringOf(cfg))
	d.probes.ask(cfg)
	d.flowlog.enable(cfg)
	d.limited.Store(slices.ContainsFunc(cfg.NAT.Relays, func(r nat.Relay) bool {
		return r.MaxConnections > 0 || r.MaxPerSource > 0 || r.Rate.Count > 0
	}))
}

// poke asks for a pass. It never blocks: one token stands for any number of reasons.
func (d *Daemon) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}
