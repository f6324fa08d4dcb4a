package rival

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"natd/bench/arena"
	"natd/internal/control"
	"natd/internal/lab"
)

// Natd is natd with a configuration file, started and reloaded as its users do.
type Natd struct {
	name string
	// relay and settings are what the file has besides, in each relay and once.
	relay    string
	settings func(dir string) string
	// observes is whether it has to hear of every connection.
	observes bool
}

// PlainNatd relays, and does nothing besides.
func PlainNatd() arena.Candidate { return Natd{name: "natd", settings: quiet} }

// LoggingNatd logs each new connection.
func LoggingNatd() arena.Candidate {
	return Natd{name: "natd-log", relay: "log = true\n", settings: quiet}
}

// ObservedNatd has metrics and a flow log.
func ObservedNatd() arena.Candidate {
	return Natd{name: "natd-observed", observes: true, settings: func(dir string) string {
		return fmt.Sprintf("[metrics]\nlisten = \"127.0.0.1:9469\"\n[flow_log]\npath = %q\ninterval = \"10s\"\n", filepath.Join(dir, "flow.log"))
	}}
}

// GuardedNatd is natd where others can take its rules away, as on kernels before 6.9.
func GuardedNatd() arena.Candidate {
	return Natd{name: "natd-guard", settings: func(string) string { return "[daemon]\nprotect = \"guard\"\n" }}
}

func quiet(string) string { return "" }

// Name is the name of the candidate.
func (n Natd) Name() string { return n.name }

// Start starts natd.
func (n Natd) Start(ctx context.Context, a *arena.Arena, j arena.Job) (arena.Running, error) {
	dir, err := a.TempDir(n.name)
	if err != nil {
		return nil, err
	}
	d := &daemon{Natd: n, arena: a, dir: dir}
	if err := d.configure(j); err != nil {
		return nil, err
	}
	a.Begin()
	d.process, err = a.B.Start(filepath.Join(a.Programs, "natd"),
		"--config", d.File(), "--socket", d.socket(), "--state", filepath.Join(dir, "state"))
	if err != nil {
		return nil, err
	}
	if err := a.Answered(ctx, j, arena.Dial(n, j)); err != nil {
		return nil, stopped(ctx, d, fmt.Errorf("%w; natd wrote:\n%s", err, d.process.Log()))
	}
	if n.observes {
		return observer{d}, nil
	}
	return d, nil
}

// daemon is a natd at work.
type daemon struct {
	Natd
	arena   *arena.Arena
	dir     string
	process *lab.Process
}

// File is the configuration.
func (d *daemon) File() string { return filepath.Join(d.dir, "natd.toml") }

func (d *daemon) socket() string { return filepath.Join(d.dir, "natd.sock") }

// configure writes the file, whole, under its name at once.
func (d *daemon) configure(j arena.Job) error {
	var text strings.Builder
	text.WriteString("[host]\nmetadata = \"off\"\n")
	text.WriteString(d.settings(d.dir))
	for i := range j.Relays {
		fmt.Fprintf(&text, "[[relay]]\nname = \"relay-%06d\"\nlisten = \"%v\"\nprotocol = %q\nto = [\"%v\"]\n", i, j.Listen(i), j.Protocol(), j.Target(i))
		if sources := j.Sources(i); len(sources) > 0 {
			fmt.Fprintf(&text, "from = [%s]\n", quoted(sources))
		}
		text.WriteString(d.relay)
	}
	next := d.File() + ".next"
	if err := os.WriteFile(next, []byte(text.String()), 0o600); err != nil {
		return fmt.Errorf("writing natd's configuration: %w", err)
	}
	return os.Rename(next, d.File())
}

// quoted writes values as strings of TOML.
func quoted[T any](values []T) string {
	return `"` + strings.ReplaceAll(list(values), ", ", `", "`) + `"`
}

// Stop removes what natd made, and ends it.
func (d *daemon) Stop(ctx context.Context) error {
	_, err := d.Natctl(ctx, "flush")
	return errors.Join(err, d.process.Stop(), os.RemoveAll(d.dir))
}

// PIDs is natd's.
func (d *daemon) PIDs() []int { return []int{d.process.PID()} }

// Change writes the file anew and reloads it.
func (d *daemon) Change(ctx context.Context, is arena.Job) error {
	if err := d.configure(is); err != nil {
		return err
	}
	d.arena.Begin()
	_, err := d.Natctl(ctx, "reload")
	return err
}

// Log is what natd wrote so far.
func (d *daemon) Log() string { return d.process.Log() }

// Natctl runs natctl.
func (d *daemon) Natctl(ctx context.Context, args ...string) (string, error) {
	return d.arena.B.Run(ctx, filepath.Join(d.arena.Programs, "natctl"), append([]string{"--socket", d.socket()}, args...)...)
}

// observer is a natd at work that hears of connections.
type observer struct{ *daemon }

// Lost is how often natd has missed events of connections.
func (o observer) Lost(ctx context.Context) (uint64, error) {
	text, err := o.Natctl(ctx, "status", "--json")
	if err != nil {
		return 0, err
	}
	var status struct{ Accounting control.Accounting }
	if err := json.Unmarshal([]byte(text), &status); err != nil {
		return 0, fmt.Errorf("reading natd's status: %w", err)
	}
	if !status.Accounting.Exact {
		return 0, errors.New("natd does not hear of every connection")
	}
	return status.Accounting.Lost, nil
}
