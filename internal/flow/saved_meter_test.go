package flow

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// resumed is a Meter that goes on from what the other would have saved, over the same kernel.
func (m *metered) resumed(keep func(Owner) bool) *metered {
	m.t.Helper()
	text, err := json.Marshal(m.Save())
	if err != nil {
		m.t.Fatal(err)
	}
	var saved Saved
	if err := json.Unmarshal(text, &saved); err != nil {
		m.t.Fatal(err)
	}
	next := newMetered(m.t)
	next.table = m.table
	if err := next.Resume(&saved, keep); err != nil {
		m.t.Fatal(err)
	}
	return next
}

// What has changed is all that is written again, and the next Meter knows as much as if everything had been. A line that was cut off counts for
// nothing.
func TestMeterSavesChanges(t *testing.T) {
	t.Parallel()
	m := newMetered(t)
	var file bytes.Buffer
	write := func(s *Saved) {
		t.Helper()
		if err := json.NewEncoder(&file).Encode(s); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		carry(m.track(fmt.Sprint(i), fmt.Sprintf("10.1.0.5:%d", 1000+i), 1), 3, 300)
	}
	m.dump(2, true)
	write(m.Save())
	whole := file.Len()
	for round := range 4 {
		carry(m.table[fmt.Sprint(round)], 1, 100)
		carry(m.track("short", "10.1.0.5:2", 3+round), 1, 100)
		m.destroy("short", 3+round)
		m.track(fmt.Sprint("more", round), fmt.Sprintf("10.1.0.6:%d", 1000+round), 3).Reply.Src = netip.MustParseAddrPort(fmt.Sprintf("10.3.0.101:%d", round))
		m.dump(3+round, round == 2)
		write(m.Changes())
	}
	m.destroy("9", 8)
	write(m.Changes())
	if changes := file.Len() - whole; changes > whole {
		t.Errorf("what changed takes %d bytes, and all of it %d", changes, whole)
	}
	want := m.Save()
	carry(m.table["5"], 1, 100)
	m.dump(9, false)
	write(m.Changes())
	file.Truncate(file.Len() - 2)
	got, err := ReadSaved(&file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Tallies, got.Tallies, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	resumed := func(s *Saved) map[key]known {
		next := newMetered(t)
		if err := next.Resume(s, everyOwner); err != nil {
			t.Fatal(err)
		}
		live := make(map[key]known)
		for id, k := range next.live {
			if m.live[id] != nil { // what has ended since is forgotten by the next dumps
				live[id] = *k
			}
		}
		return live
	}
	if diff := cmp.Diff(resumed(want), resumed(got), cmp.AllowUnexported(key{}, known{}, carried{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func everyOwner(Owner) bool { return true }

// A natd that takes over counts on where the one before saved.
func TestMeterResumes(t *testing.T) {
	t.Parallel()
	m := newMetered(t)
	m.Lost()
	for i := range 3 {
		carry(m.track(fmt.Sprint(i), fmt.Sprintf("10.1.0.5:%d", 1000+i), 1), 3, 300)
	}
	carry(m.track("gone", "10.1.0.5:999", 1), 1, 100)
	m.dump(2, true)
	carry(m.table["1"], 1, 100)
	m.dump(3, false) // counted, and not sampled yet
	m.destroy("0", 4)
	delete(m.table, "gone")
	next := m.resumed(everyOwner)
	delete(m.table, "gone")
	carry(next.table["1"], 5, 500)
	carry(next.table["2"], 2, 200)
	next.destroy("2", 5)
	for i := range 3 {
		next.dump(6+i, i == 2)
	}
	next.want(4, 0, 0, 18, 1800)
	next.wantSampled(0, 1, 8, 800)
	if !next.Since().Equal(m.Since()) || next.Losses() != 1 || len(next.live) != 1 {
		t.Errorf("since %v, %d losses, %d live", next.Since(), next.Losses(), len(next.live))
	}
}

// What is of owners that are gone is forgotten when natd is started anew.
func TestMeterForgets(t *testing.T) {
	t.Parallel()
	m := newMetered(t)
	carry(m.track("a", "10.1.0.5:1000", 1), 3, 300)
	m.dump(2, true)
	next := m.resumed(func(Owner) bool { return false })
	if len(next.Tallies()) != 0 || len(next.live) != 0 {
		t.Errorf("%v", next.Tallies())
	}
}

func TestMeterResumesNothingDamaged(t *testing.T) {
	t.Parallel()
	m := newMetered(t)
	carry(m.track("a", "10.1.0.5:1000", 1), 3, 300)
	m.dump(2, true)
	saved := m.Save()
	for n := 1; n < len(saved.Live); n++ {
		damaged := *saved
		damaged.Live = saved.Live[:n]
		if err := newMetered(t).Resume(&damaged, everyOwner); err == nil {
			t.Errorf("%d of %d bytes were understood", n, len(saved.Live))
		}
	}
}
