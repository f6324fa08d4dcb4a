package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"natd/internal/control"
	"natd/internal/record"
	"natd/internal/words"
)

// flowsFlags is the command line of flows.
type flowsFlags struct {
	follow, raw          bool
	relay, file          string
	client, target, snat string
	at, since, until     string
}

// flowFilter is what the command line asks for, understood. The zero value lets everything through.
type flowFilter struct {
	relay        string
	client       netip.Prefix
	target, snat control.Place
	at           *moment
	since, until time.Time // zero = without bound
}

func (a *app) flowsCommand() *cobra.Command {
	var f flowsFlags
	var filter *flowFilter
	cmd := &cobra.Command{
		Use:   "flows",
		Short: "Show the flow log: who was connected to whom through which relay, when, and how much was carried",
		Long: `Show the flow log: who was connected to whom through which relay, when, and how much was
carried. The records of a flow's legs are put together: one row is one flow and window. What
several options ask for must all be true of a flow. Files that were put aside are read as
well, the oldest first.

With --snat and --at it answers what a server's log leaves open, which client it was that came
from an address and port of the relay:

  natctl flows --snat 10.2.0.100:54012 --at 07:49:10

It looks into connection tracking, too, for one that is still open. Exit code 1: no connection
fits; the nearest are shown.

TIME is HH:MM[:SS] of today or, if that is still to come, of yesterday; "2026-11-21 07:49:10";
RFC 3339; nginx's [21/Nov/2026:07:49:10 +0000]; Unix seconds; or how long ago, as in 10m.`,
		Args: noArguments,
		PreRunE: func(*cobra.Command, []string) (err error) {
			filter, err = f.filter(a.now(), a.json)
			return err
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return a.flows(cmd.Context(), &f, filter) },
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.follow, "follow", false, "show what is written from now on (with --since, from then on), until interrupted")
	flags.StringVar(&f.relay, "relay", "", "only those of this `relay`, gateway or static")
	flags.StringVar(&f.client, "client", "", "only those of this client, an `address` or a network such as 10.1.0.0/16")
	flags.StringVar(&f.target, "target", "", "only those to this target, `ADDR` or ADDR:PORT")
	flags.StringVar(&f.snat, "snat", "", "only those that reached their target from this source, `ADDR` or ADDR:PORT")
	flags.StringVar(&f.at, "at", "", "with --snat ADDR:PORT: which client was that, at this `time`?")
	flags.StringVar(&f.since, "since", "", "only those with packets at this `time` or later")
	flags.StringVar(&f.until, "until", "", "only those with packets at this `time` or before")
	flags.StringVar(&f.file, "file", "", "read the flow log at this `path`, not that of the running natd; - is standard input")
	flags.BoolVar(&f.raw, "raw", false, "print the lines of the log as they are")
	// Neither the flag nor the function can be missing, which is all that this could fail for.
	_ = cmd.RegisterFlagCompletionFunc("relay", a.completeName)
	return cmd
}

// filter understands the command line.
func (f *flowsFlags) filter(now time.Time, json bool) (*flowFilter, error) {
	filter := &flowFilter{relay: f.relay}
	var errs [6]error
	filter.client, errs[0] = control.ParseClients(f.client)
	filter.target, errs[1] = control.ParsePlace("target", f.target)
	filter.snat, errs[2] = control.ParsePlace("snat", f.snat)
	moments := []*moment{nil, nil, nil}
	for i, given := range []struct{ flag, value string }{{"at", f.at}, {"since", f.since}, {"until", f.until}} {
		if given.value == "" {
			continue
		}
		m, err := parseMoment(given.value, now)
		if err != nil {
			errs[3+i] = fmt.Errorf("--%s: %w", given.flag, err)
		}
		moments[i] = &m
	}
	if err := errors.Join(errs[:]...); err != nil {
		return nil, control.Errorf(control.CodeUsage, "%w", err)
	}
	filter.at = moments[0]
	if moments[1] != nil {
		filter.since = moments[1].from
	}
	if moments[2] != nil {
		filter.until = moments[2].until
	}
	return filter, f.contradiction(filter, json)
}

// contradiction finds options that make no sense together.
func (f *flowsFlags) contradiction(filter *flowFilter, json bool) error {
	switch {
	case f.at != "" && filter.snat.Port == 0:
		return control.Errorf(control.CodeUsage, "--at needs --snat ADDR:PORT, the address and port that the server saw")
	case f.at != "" && (f.follow || f.raw || f.since != "" || f.until != ""):
		return control.Errorf(control.CodeUsage, "--at is a question about one time: it does not go with --follow, --raw, --since and --until")
	case f.raw && json:
		return control.Errorf(control.CodeUsage, "--raw prints lines as they are: it does not go with --json")
	case f.follow && f.until != "":
		return control.Errorf(control.CodeUsage, "--follow has no end: it does not go with --until")
	case f.follow && f.file == standardInput:
		return control.Errorf(control.CodeUsage, "standard input is read as it comes: leave --follow out")
	case !filter.since.IsZero() && !filter.until.IsZero() && filter.until.Before(filter.since):
		return control.Errorf(control.CodeUsage, "--until %s is before --since %s", f.until, f.since)
	}
	return nil
}

// has tells whether a flow is asked for. Where records are missing, that is of interest to all who do not ask for somebody.
func (f *flowFilter) has(flow *record.Flow) bool {
	if flow.Status == record.NoData || !f.during(flow) {
		return false
	}
	return (f.relay == "" || f.relay == flow.Relay) && (!f.client.IsValid() || f.client.Contains(flow.Client.Addr())) &&
		f.target.Has(flow.Target) && f.snat.Has(flow.SNAT)
}

// during tells whether a flow had packets in the time that is asked for.
func (f *flowFilter) during(flow *record.Flow) bool {
	return (f.since.IsZero() || flow.End >= f.since.Unix()) && (f.until.IsZero() || flow.Start <= f.until.Unix())
}

// flows answers the command.
func (a *app) flows(ctx context.Context, f *flowsFlags, filter *flowFilter) error {
	log, status, err := a.findLog(ctx, f.file)
	if err != nil {
		return err
	}
	log.since = filter.since
	if f.relay != "" && f.file == "" && !slices.Contains(allNames(status), f.relay) {
		fmt.Fprintf(a.stderr, "natctl: natd has no relay, gateway or static %q now: there are only the records of when it had\n", f.relay)
	}
	names := &owners{status}
	if filter.at != nil {
		return a.whoWas(ctx, log, names, filter)
	}
	r := &flowReader{times: !filter.since.IsZero() || !filter.until.IsZero(), lenient: f.raw && *filter == flowFilter{}}
	out := a.flowWriter(f, r)
	unnamed := 0
	r.each = func(j *joined) error {
		names.name(&j.Flow)
		if j.Relay == "" {
			unnamed++
		}
		if r.lenient || filter.has(&j.Flow) {
			out.write(j)
		}
		return nil
	}
	if f.follow {
		err = log.follow(ctx, r)
	} else {
		err = log.read(ctx, r)
	}
	a.warnLines(r)
	if err == nil && filter.relay != "" && status == nil && unnamed > 0 {
		err = errors.New("records in this format do not have the names of relays, and natd, which knows them, does not answer: use --client, --target or --snat")
	}
	if err != nil {
		return err
	}
	out.end()
	return nil
}

// warnLines tells of lines that could not be understood, because a full disk cut them off, and of parts that could not be read.
func (a *app) warnLines(r *flowReader) {
	for _, err := range r.damaged {
		fmt.Fprintf(a.stderr, "natctl: a part of the log is damaged: %s\n", printable(err.Error()))
	}
	if r.wrong > 0 {
		fmt.Fprintf(a.stderr, "natctl: %s not understood; the first: %s\n", words.Count(r.wrong, "line"), printable(r.first.Error()))
	}
}
