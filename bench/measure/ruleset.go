package measure

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"natd/bench/arena"
	"natd/nat"
)

// Ways of a ruleset into the kernel and back.
const (
	ByNatd = "natd's own netlink"
	ByNft  = "nft"
)

// Ruleset loads the ruleset that natd has for a job, and reads it back: by natd's own means, from memory, and by nft, from a file with the
// very same. Each finds no rules in B, and leaves none.
func Ruleset(ctx context.Context, a *arena.Arena, j arena.Job, way string) ([]Figure, error) {
	want := ruleset(j)
	runtime.GC() // what this program has to do for itself is not to be in the way
	if way == ByNft {
		return byNft(ctx, a, want)
	}
	return byNatd(ctx, a, want)
}

// byNatd is one transaction, and a read with the comparison.
func byNatd(ctx context.Context, a *arena.Arena, want *nat.Ruleset) (figures []Figure, err error) {
	var kernel *nat.Kernel
	if err := a.B.Do(func() (err error) { kernel, err = nat.Open(); return err }); err != nil {
		return nil, err
	}
	defer kernel.Close()
	hold := nat.Hold{Protect: nat.ProtectOff, Port: kernel.Port()}
	have, err := kernel.Read()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := kernel.Apply(nat.Diff(want, have, hold), have.Generation, hold); err != nil {
		return nil, err
	}
	loaded := time.Now()
	have, err = kernel.Read()
	if err == nil && !nat.Diff(want, have, hold).Empty() {
		err = errors.New("the kernel has other rules than were loaded")
	}
	read := time.Now()
	if err := errors.Join(err, a.B.Nft(ctx, "delete table inet "+nat.TableName)); err != nil {
		return nil, err
	}
	return []Figure{{LoadRuleset, ms(loaded.Sub(began))}, {ReadRuleset, ms(read.Sub(loaded))}}, nil
}

// byNft is "nft -f", and "nft -j list ruleset", which says what there is and compares nothing.
func byNft(ctx context.Context, a *arena.Arena, want *nat.Ruleset) (figures []Figure, err error) {
	ctx, cancel := context.WithTimeout(ctx, a.Patience)
	defer cancel()
	path := filepath.Join(a.Dir(), "natd.nft")
	if err := writeText(path, want); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.Remove(path)) }()
	began := time.Now()
	if _, err := a.B.Run(ctx, "nft", "-f", path); err != nil {
		return nil, overdue(ctx, err)
	}
	loaded := time.Now()
	list := a.B.Command(ctx, "nft", "-j", "list", "ruleset")
	list.Stdout = io.Discard
	err = list.Run()
	read := time.Now()
	if err := errors.Join(err, a.B.Nft(context.WithoutCancel(ctx), "delete table inet "+nat.TableName)); err != nil {
		return nil, overdue(ctx, err)
	}
	return []Figure{{LoadRuleset, ms(loaded.Sub(began))}, {ReadRuleset, ms(read.Sub(loaded))}}, nil
}

// overdue says of an error that it is for want of time.
func overdue(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w: takes too long", arena.ErrBeyond)
	}
	return err
}

func writeText(path string, r *nat.Ruleset) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("writing the ruleset: %w", err)
	}
	w := bufio.NewWriter(f)
	return errors.Join(r.WriteText(w), w.Flush(), f.Close())
}

// ruleset is what natd makes of a job.
func ruleset(j arena.Job) *nat.Ruleset {
	spec := &nat.Spec{Relays: make([]nat.Relay, j.Relays)}
	places := &nat.Placements{Relays: make([]nat.Placement, j.Relays)}
	self := []netip.Addr{j.Listen(0).Addr()}
	for i := range j.Relays {
		listen, target := j.Listen(i), j.Target(i)
		ports := nat.PortRange{First: target.Port(), Last: target.Port()}
		spec.Relays[i] = nat.Relay{
			Name: fmt.Sprintf("relay-%06d", i), Protocols: []nat.Protocol{nat.TCP}, From: j.Sources(i), Enabled: true,
			Listen:   nat.Listen{Addr: listen.Addr(), Ports: nat.PortRange{First: listen.Port(), Last: listen.Port()}},
			Backends: []nat.Backend{{Addr: target.Addr(), Ports: ports, Weight: 1}},
		}
		places.Relays[i] = nat.Placement{
			Addrs: []netip.Addr{listen.Addr()}, Targets: []nat.Target{{Addr: target.Addr(), Ports: ports, Weight: 1, SNAT: self}},
		}
	}
	return nat.Build(spec, places)
}
