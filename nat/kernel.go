package nat

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"natd/internal/nfnl"
)

// readTries is how often a read that another program's changes keep interrupting is begun again, after a pause that grows
// by readPause each time: a fifth of a second in all.
const (
	readTries = 20
	readPause = time.Millisecond
)

// ErrOwned says that another process owns the table.
var ErrOwned = errors.New("table inet natd belongs to another process: is another natd running?")

// ErrUnsupported says that the kernel is too old for what is wanted, or lacks a module.
var ErrUnsupported = errors.New("this kernel cannot do that")

// ErrStale says that another program changed the ruleset between a read and the change computed from it: read again.
var ErrStale = nfnl.ErrStale

// ErrLater says that another program changed the ruleset after a change of natd's: it is an ErrStale unless that was elsewhere.
var ErrLater = fmt.Errorf("%w, after natd's change", ErrStale)

// Kernel is natd's side of nf_tables in the network namespace it was opened in. It is for one goroutine at a time.
// Its socket owns what natd owns, so it stays open as long as natd runs.
type Kernel struct {
	socket *nfnl.Socket
	dumps  []*nfnl.Socket // to read several large sets at the same time: one for each processor, the first is socket
}

// mostDumps is how many large sets are worth to be read at the same time: relays of one family have three.
const mostDumps = 3

// Open connects to nf_tables. It changes nothing.
func Open() (*Kernel, error) {
	k := new(Kernel)
	for range max(1, min(runtime.GOMAXPROCS(0), mostDumps)) {
		s, err := nfnl.Dial(1 << 20)
		if err != nil {
			return nil, errors.Join(err, k.Close())
		}
		k.dumps = append(k.dumps, s)
	}
	k.socket = k.dumps[0]
	return k, nil
}

// Close drops the ownership of natd's tables: the guard goes, the main table stays.
func (k *Kernel) Close() (err error) {
	for _, s := range k.dumps {
		err = errors.Join(err, s.Close())
	}
	return err
}

// Port is the netlink port id that owns natd's tables and changes the ruleset.
func (k *Kernel) Port() uint32 { return k.socket.Port() }

// Generation is the number that every change of any table on the host counts up.
func (k *Kernel) Generation() (uint32, error) { return generation(k.socket) }

// Owns tells whether the table is there and nobody but natd can change it.
func (k *Kernel) Owns() (bool, error) {
	h, err := readHeader(k.socket, TableName)
	return h.exists && h.flags == flagOwner|flagPersist && h.owner == k.Port(), err
}

// Read reads natd's table as it stands, never a mix of two states: a read during which another program changed the
// ruleset is begun again.
func (k *Kernel) Read() (*Table, error) { return k.steady((*reader).read) }

// steady reads what the function does of the table, again and again until nobody changed the ruleset meanwhile.
func (k *Kernel) steady(read func(*reader) error) (*Table, error) {
	for try := range readTries {
		time.Sleep(time.Duration(try) * readPause)
		before, err := generation(k.socket)
		if err != nil {
			return nil, err
		}
		r := newReader(k.dumps, before)
		err = read(r)
		after, genErr := generation(k.socket)
		if genErr != nil {
			return nil, genErr
		}
		if before != after || errors.Is(err, nfnl.ErrInterrupted) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return r.table, nil
	}
	return nil, fmt.Errorf("read table inet %s: %w, %d times in a row", TableName, nfnl.ErrInterrupted, readTries)
}

// Apply carries the plan out in one transaction, provided that the ruleset is still of the generation that the plan
// was computed from (0 = in any case). On any error other than ErrStale the kernel's state is what a Read says.
func (k *Kernel) Apply(p *Plan, generation uint32, hold Hold) error {
	b := nfnl.NewBatch(generation)
	p.encode(b, hold)
	return k.commit(b)
}

// Release deletes listens that a plan retired, once the connections that were made through them are gone.
func (k *Kernel) Release(retired []Element) error {
	b := nfnl.NewBatch(0)
	for i, f := range families() {
		listens := ofFamily(retired, i, func(e Element) netip.Addr { return e.Listen().Addr })
		changeElements(b, unix.NFT_MSG_DELSETELEM, newSetOf(f.name(setListens), f.endpoint, nil), listens)
	}
	err := k.commit(b)
	if errors.Is(err, unix.ENOENT) {
		return ErrStale // another program took them away: look again
	}
	return err
}

func (k *Kernel) commit(b *nfnl.Batch) error {
	err := k.socket.Commit(b)
	var refusal *nfnl.Error
	switch {
	case err == nil || errors.Is(err, nfnl.ErrStale):
		return err
	case !errors.As(err, &refusal) || refusal.Index < 0:
		return fmt.Errorf("change table inet %s: %w", TableName, err)
	case refusal.Errno == unix.EPERM:
		// A process without CAP_NET_ADMIN is refused as a whole; a single message is refused for the owner's sake.
		return fmt.Errorf("%w (%w)", ErrOwned, refusal)
	}
	typ, attrs := b.Message(refusal.Index)
	return refusalOf(typ, attrs, refusal)
}

// Protection is what the kernel can do of the wanted protection: auto becomes the best there is. An explicit wish
// that the kernel cannot fulfil is an error.
func (k *Kernel) Protection(want Protect) (Protect, error) {
	if want == ProtectOff {
		return ProtectOff, nil
	}
	for _, p := range []struct {
		protect Protect
		flags   uint32
		since   string
	}{{ProtectOwn, flagOwner | flagPersist, "6.9"}, {ProtectGuard, flagOwner, "5.12"}} {
		if want != ProtectAuto && want != p.protect {
			continue
		}
		ok, err := k.supports(p.flags)
		if err != nil {
			return ProtectOff, err
		}
		if ok {
			return p.protect, nil
		}
		if want == p.protect {
			return ProtectOff, fmt.Errorf("%w: it needs Linux %s; \"auto\" takes the best that there is", ErrUnsupported, p.since)
		}
	}
	return ProtectOff, nil
}

// supports asks the kernel whether it knows the table flags, by a transaction that always fails: it makes a table with
// the flags and deletes one that does not exist. What was refused first is the answer, and nothing has changed.
func (k *Kernel) supports(tableFlags uint32) (bool, error) {
	const probe = "natd_probe"
	b := nfnl.NewBatch(0)
	begin(b, unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE)
	b.String(unix.NFTA_TABLE_NAME, probe)
	b.Uint32(unix.NFTA_TABLE_FLAGS, tableFlags)
	b.End()
	deleteTable(b, probe+"_absent")
	err := k.socket.Commit(b)
	var refusal *nfnl.Error
	if !errors.As(err, &refusal) || refusal.Index < 0 {
		return false, fmt.Errorf("ask the kernel for table flags %#x: %w", tableFlags, err)
	}
	return refusal.Index == 1, nil
}
