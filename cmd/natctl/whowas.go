package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"natd/internal/control"
	"natd/internal/record"
)

// How far a connection may be from the time that a server's log has, and still be the one: after its end conntrack keeps the port
// from others for as long as TIME_WAIT (nf_conntrack_tcp_timeout_time_wait, 120 s); before its beginning, the clocks differ.
const (
	patienceAfter  = 120
	patienceBefore = 10
)

// candidatesShown is how many connections are shown when none fits.
const candidatesShown = 5

// candidate is a connection that may be the one.
type candidate struct {
	record.Life
	open bool // conntrack still has it
	gap  int64
}

// whoWas answers which client it was that came from an address and port at a time.
func (a *app) whoWas(ctx context.Context, log *flowLog, names *owners, filter *flowFilter) error {
	find := &record.Finder{From: filter.at.from.Unix(), Until: filter.at.until.Unix()}
	missing := false // records of the time are
	r := &flowReader{times: true, each: func(j *joined) error {
		if j.Status == record.SkipData && j.Start <= find.Until && j.End >= find.From {
			missing = true
		}
		names.name(&j.Flow)
		if filter.has(&j.Flow) {
			find.Add(j.Flow)
		}
		return nil
	}}
	if err := log.read(ctx, r); err != nil {
		return err
	}
	a.warnLines(r)
	missing = missing || len(r.damaged) > 0
	all := a.withOpen(ctx, find, filter, names)
	fits, others := sift(all)
	a.show(whoDocument(filter, fits, others, missing), whoText(filter, fits, others, missing))
	if len(fits) == 0 {
		return verdict(control.CodeFailed)
	}
	return nil
}

// withOpen adds what conntrack knows: connections that still live go on until now, and may have no record yet.
func (a *app) withOpen(ctx context.Context, find *record.Finder, filter *flowFilter, names *owners) []candidate {
	var all []candidate
	for _, life := range find.Nearest(candidatesShown + 10) {
		all = append(all, candidate{Life: life})
	}
	if names.status == nil {
		return settle(all, find)
	}
	args := control.ConnectionsArgs{SNAT: placeText(filter.snat), Relay: filter.relay}
	if filter.client.IsValid() {
		args.Client = filter.client.String()
	}
	if filter.target.Addr.IsValid() {
		args.Target = placeText(filter.target)
	}
	var list control.ConnectionList
	if err := control.Call(ctx, a.socket, control.OpConnections, args, &list); err != nil {
		fmt.Fprintf(a.stderr, "natctl: connection tracking was not asked: %s\n", printable(err.Error()))
	}
	for i := range list.Connections {
		all = a.merge(all, &list.Connections[i], names.status)
	}
	return settle(all, find)
}

// merge makes a connection that is open the end of the life that it has in the log. Without one it began after the last window was
// written.
func (a *app) merge(all []candidate, c *control.Connection, s *control.Status) []candidate {
	now := a.now().Unix()
	latest := -1
	for i := range all {
		if endText(all[i].Client) == c.Client && endText(all[i].Target) == c.Target && protocolName(all[i].Protocol) == c.Protocol &&
			(latest < 0 || all[i].End > all[latest].End) {
			latest = i
		}
	}
	over := slices.Contains([]string{"TIME_WAIT", "CLOSE", "CLOSED"}, c.State) // see flow.Entry.Over
	switch {
	case latest >= 0 && over:
		return all
	case latest >= 0:
		all[latest].open, all[latest].End = true, now
		return all
	}
	began := now
	if s.FlowLog != nil {
		if d, err := time.ParseDuration(s.FlowLog.Interval); err == nil {
			began -= int64(d / time.Second)
		}
	}
	life := record.Life{Flow: record.Flow{
		Relay: c.Relay, Kind: c.Kind, Protocol: protocolOf(c.Protocol), Client: endOf(c.Client), Listen: endOf(c.Listen),
		SNAT: endOf(c.SNAT), Target: endOf(c.Target), Start: began, End: now,
		ToTarget: record.Volume{Packets: c.Packets.ToTarget, Bytes: c.Bytes.ToTarget},
		ToClient: record.Volume{Packets: c.Packets.ToClient, Bytes: c.Bytes.ToClient},
	}}
	return append(all, candidate{Life: life, open: !over})
}

// settle works out how far each candidate is from the time.
func settle(all []candidate, find *record.Finder) []candidate {
	for i := range all {
		all[i].gap = all[i].Distance(find.From, find.Until)
	}
	return all
}
