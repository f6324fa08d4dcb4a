package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"natd/internal/control"
	"natd/internal/words"
)

func (a *app) statusCommand() *cobra.Command {
	var watch bool
	var which control.StatusArgs
	interval := 2 * time.Second
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the state of natd, of the host and of all that natd relays",
		Long: `Show the state of natd, of the host and of every relay, gateway and static, as natd last
read it from the kernel. Of more than a hundred relays those are shown that are not as
configured, and the others are counted; --relay and --state choose, --json has them all. Of the backends of a relay at most ten are shown, those that are
not well first; --json lists them all.

Exit codes: 0 ready, 5 failed: the kernel is not in sync, 6 degraded, 4 natd is not reachable.
With --watch the code is that of the last state, and the command goes on while natd is away.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := which.Check(); err != nil {
				return err
			}
			if !a.json {
				which.Most = relaysShown
			}
			if watch {
				return a.watch(cmd.Context(), interval, &which)
			}
			s, err := a.status(cmd.Context(), &which)
			if err != nil {
				return err
			}
			if err := a.showStatus(s); err != nil {
				return err
			}
			return judge(s)
		},
	}
	cmd.Flags().StringVar(&which.Relay, "relay", "", "only relays whose name matches the `pattern`, as web-*")
	cmd.Flags().StringSliceVar(&which.State, "state", nil, "only relays in one of these `states`: ready, degraded, down, disabled")
	cmd.Flags().BoolVar(&watch, "watch", false, "show it again and again, until interrupted")
	cmd.Flags().Var((*pace)(&interval), "interval", "pause between two rounds of --watch")
	return cmd
}

// pace is a flag for the time between two rounds.
type pace time.Duration

// fastest keeps a slip of the finger from keeping natd busy.
const fastest = 100 * time.Millisecond

func (p *pace) Set(s string) error {
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		return fmt.Errorf("%w; write it like 2s or 500ms", err)
	case d < fastest:
		return fmt.Errorf("it must be at least %s", fastest)
	}
	*p = pace(d)
	return nil
}

func (p *pace) String() string { return time.Duration(*p).String() }

func (*pace) Type() string { return "duration" }

// relaysShown is how many relays are shown one by one. Of more, only those that are not as configured are.
const relaysShown = 100

// showStatus prints the status. As JSON it may be long.
func (a *app) showStatus(s *control.Status) error {
	if !a.json {
		fmt.Fprint(a.stdout, a.statusText(s))
		return nil
	}
	if err := s.WriteJSON(a.stdout, "  "); err != nil {
		return err
	}
	_, err := fmt.Fprintln(a.stdout)
	return err
}

// status asks natd for its status; which is nil for all of it.
func (a *app) status(ctx context.Context, which *control.StatusArgs) (*control.Status, error) {
	var s control.Status
	if which == nil {
		which = new(control.StatusArgs)
	}
	if err := control.Call(ctx, a.socket, control.OpStatus, which, &s); err != nil {
		return nil, err
	}
	return &s, nil
}

// judge is the exit code that a status stands for. A kernel that does not hold what it should is worse than
// anything else that may be wrong.
func judge(s *control.Status) error {
	switch {
	case !s.Ruleset.InSync:
		return verdict(control.CodeNotInSync)
	case s.State != control.StateReady:
		return verdict(control.CodeDegraded)
	}
	return nil
}

// statusText is the status for people.
func (a *app) statusText(s *control.Status) string {
	screen := a.screen()
	now := a.now()
	var b strings.Builder
	fmt.Fprintf(&b, "natd %s  version %s, up %s, pid %d\n", screen.paint(printable(s.State)), printable(s.Version), words.Span(now.Sub(s.StartedAt)), s.PID)
	for _, reason := range s.Reasons {
		if !words.HasRow(reason) {
			field(&b, "reason", reason)
		}
	}
	field(&b, "config", fmt.Sprintf("%s, loaded %s", s.Config.Path, words.Ago(now, s.Config.LoadedAt)))
	if s.Config.Error != "" {
		field(&b, "", "the last reload was refused:\n"+s.Config.Error)
	}
	field(&b, "host", hostText(s.Host))
	if f := s.Host.Flowtable; f.On {
		field(&b, "fast path", "on, by "+strings.Join(f.Interfaces, ", "))
	} else if f.Why != "" {
		field(&b, "fast path", "off: "+f.Why)
	}
	if i := s.Host.Instance; i != nil {
		field(&b, "instance", instanceText(i, now))
	}
	field(&b, "ruleset", rulesetText(s.Ruleset, now))
	if s.Ruleset.LastError != "" {
		field(&b, "", "last error: "+s.Ruleset.LastError)
	}
	observed(&b, s, now)
	for _, t := range tables(s, now) {
		b.WriteByte('\n')
		t.write(&b, screen)
	}
	b.WriteString(idle(s))
	b.WriteString(leftOut(s))
	return b.String()
}

func hostText(h control.Host) string {
	forward := "ip_forward off"
	if h.IPForward {
		forward = "ip_forward on"
	}
	if h.Forward6 {
		forward += ", ip6_forward on" // most hosts relay no IPv6: off says nothing
	}
	text := fmt.Sprintf("%s, conntrack %d/%d", forward, h.Conntrack.Entries, h.Conntrack.Max)
	if len(h.Sysctls) == 0 {
		return text
	}
	return text + fmt.Sprintf(", %s changed (--json lists them)", words.Count(len(h.Sysctls), "sysctl"))
}

// interfacesShown is how many network interfaces of an instance fit into its line.
const interfacesShown = 2

// staleAfter is the age at which what AWS said is shown with its age: natd asks every minute.
const staleAfter = 3 * time.Minute

// instanceText is what natd runs on, in one line.
func instanceText(i *control.Instance, now time.Time) string {
	text := strings.TrimSpace(i.ID + " " + i.Type)
	if i.Zone != "" {
		text += " in " + i.Zone
	}
	parts := []string{text}
	for _, eni := range i.Interfaces[:min(len(i.Interfaces), interfacesShown)] {
		parts = append(parts, fmt.Sprintf("%s = %s (%s, %s)", cmp.Or(eni.Device, eni.MAC), eni.ID, eni.VPC, eni.Subnet))
	}
	if more := len(i.Interfaces) - interfacesShown; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more (--json lists them)", more))
	}
	text = strings.Join(parts, ", ")
	if i.Error != "" && now.Sub(i.AsOf) > staleAfter {
		text += fmt.Sprintf("; as of %s, since then: %s", words.Ago(now, i.AsOf), i.Error)
	}
	return text
}

func rulesetText(r control.Ruleset, now time.Time) string {
	text := "in sync"
	if !r.InSync {
		text = "NOT in sync"
	}
	text += fmt.Sprintf(" (read %s), protect %s, %s", words.Ago(now, r.LastSync), r.Protect, words.Count(r.DriftRepairs, "drift repair"))
	if d := r.LastDrift; d != nil {
		if d.By != "" {
			text += ", last by " + d.By
		} else {
			text += ", last"
		}
		text += fmt.Sprintf(" %s: %s", words.Ago(now, d.At), d.What)
	}
	return text
}
