package nat

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// sameRuleset compares all of two rulesets, and says what differs.
func sameRuleset(want, got *Ruleset) string {
	names := func(r *Ruleset) (all []string) {
		for i := range r.Sets {
			all = append(all, r.Sets[i].Name)
		}
		return all
	}
	if diff := cmp.Diff(names(want), names(got)); diff != "" {
		return diff
	}
	for i := range want.Sets {
		w, g := want.Sets[i], got.Sets[i]
		if !slices.EqualFunc(w.Elements, g.Elements, func(a, b Element) bool { return a.same(&b) }) {
			return fmt.Sprintf("%s:\n-%v\n+%v", w.Name, w.Elements, g.Elements)
		}
		w.Elements, g.Elements = nil, nil
		if !reflect.DeepEqual(w, g) {
			return fmt.Sprintf("-%+v\n+%+v", w, g)
		}
	}
	if !reflect.DeepEqual(want.Chains, got.Chains) || !reflect.DeepEqual(want.FastPath, got.FastPath) {
		return cmp.Diff(want.Chains, got.Chains, cmp.AllowUnexported(Rule{}))
	}
	return ""
}

// oddRelay is a relay with some features by chance. Backends are few, so that relays share them.
func oddRelay(r *rand.Rand, i int) (Relay, Placement) {
	chance := func(n int) bool { return r.IntN(n) == 0 }
	relay := relayOf(fmt.Sprintf("relay-%03d", r.IntN(10)*100+i%100), uint16(1000+10*i), fmt.Sprintf("10.3.0.%d", 1+r.IntN(3)), backendPort(uint16(80+r.IntN(3))))
	for _, edit := range []func(*Relay){
		logged, from(clientNet), from("10.9.0.0/24", "10.8.0.0/16"), protocols(TCP, UDP), protocols(SCTP), width(3), also(1+r.IntN(3), "10.3.0.8", "10.3.0.9"),
		balanced(Random), balanced(Source), anyAddress, func(r *Relay) { r.Enabled = false }, func(r *Relay) { r.MaxConnections = 5 },
		func(r *Relay) { r.MaxPerSource = 7 }, func(r *Relay) { r.Rate = Rate{9, time.Second} }, func(r *Relay) { r.MSS.Off = true }, func(r *Relay) { r.MSS.Size = 1300 },
	} {
		if chance(12) {
			edit(&relay)
		}
	}
	if chance(6) {
		relay.Listen.Addr = addr(hostAddr6)
		relay.From = nil
		for j := range relay.Backends {
			relay.Backends[j].Addr = addr(fmt.Sprintf("fd00:10:3::%d", 1+j))
		}
	}
	place := placed(&relay)
	for _, edit := range []func(*Placement){held, sources(), sources("10.2.0.7", "10.2.0.8"), weights(0), func(p *Placement) { p.Targets[0].Closing = true }, at(hostAddr, "10.2.0.101")} {
		if chance(12) && place.Addrs[0].Is4() {
			edit(&place)
		}
	}
	return relay, place
}

// changeSome is the spec and its placements with an edit by chance.
func changeSome(r *rand.Rand, spec *Spec, places *Placements, n *int) (*Spec, *Placements) {
	s, p := *spec, *places
	s.Relays, p.Relays = slices.Clone(s.Relays), slices.Clone(p.Relays)
	at := r.IntN(len(s.Relays))
	relay, place := oddRelay(r, *n)
	*n++
	switch do := r.IntN(8); {
	case do == 0 || len(s.Relays) < 3:
		s.Relays, p.Relays = slices.Insert(s.Relays, at, relay), slices.Insert(p.Relays, at, place)
	case do == 1:
		s.Relays, p.Relays = slices.Delete(s.Relays, at, at+1), slices.Delete(p.Relays, at, at+1)
	case do == 2:
		p.Relays[at].Held = !p.Relays[at].Held
	case do == 3:
		other := r.IntN(len(s.Relays))
		s.Relays[at], s.Relays[other] = s.Relays[other], s.Relays[at]
		p.Relays[at], p.Relays[other] = p.Relays[other], p.Relays[at]
	case do == 4:
		s.Relays[at].Log = !s.Relays[at].Log
	case do == 5:
		if r.IntN(10) == 0 {
			s.Forwarding = 1 - s.Forwarding
		}
	default:
		s.Relays[at], p.Relays[at] = relay, place
	}
	return &s, &p
}

func TestRebuilder(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rebuildOften(t, seed)
		})
	}
}

// rebuildOften makes one change after the other, and wants each time what is built of the whole.
func rebuildOften(t *testing.T, seed uint64) {
	t.Helper()
	r, n := rand.New(rand.NewPCG(seed, 1)), 0
	spec, places := &Spec{ReportRefused: seed%2 == 0, ReportRepeated: seed%3 == 0}, &Placements{Answered: time.Minute}
	if seed%4 == 0 {
		places.FastLinks = []string{"eth0"}
	}
	for ; n < 3+10*int(seed); n++ {
		relay, place := oddRelay(r, n)
		spec.Relays, places.Relays = append(spec.Relays, relay), append(places.Relays, place)
	}
	if seed%3 == 1 {
		around := otherScenarios()[[]string{"gateways", "statics"}[seed%2]]
		spec.Gateways, spec.Statics = around.gateways, around.statics
		_, other := around.placed()
		places.Gateways, places.Statics = other.Gateways, other.Statics
	}
	again, patched := new(Rebuilder), 0
	for step := range 100 {
		got := again.Build(spec, places)
		if again.patched > 0 {
			patched++
		}
		if diff := sameRuleset(Build(spec, places), got); diff != "" {
			t.Fatalf("step %d, after %d relays in parts (-whole +parts):\n%s", step, again.patched, diff)
		}
		spec, places = changeSome(r, spec, places, &n)
	}
	if patched < 10 {
		t.Errorf("only %d of 100 rulesets were built in parts", patched)
	}
}

// TestRebuilderDeclaresSizes adds the relays one by one with which a set becomes one whose size is declared.
func TestRebuilderDeclaresSizes(t *testing.T) {
	t.Parallel()
	again := new(Rebuilder)
	for _, n := range []int{sizedFrom - 2, sizedFrom - 1, sizedFrom, sizedFrom + 1, sizedFrom - 1} {
		spec, places := manyRelays(n).placed()
		if diff := sameRuleset(Build(spec, places), again.Build(spec, places)); diff != "" {
			t.Errorf("%d relays: %.500s", n, diff)
		}
	}
	if again.patched != 5 {
		t.Errorf("%d relays were built in parts", again.patched)
	}
}

// TestRebuilderKeepsWhatStays wants a set that a change does not touch to be the one that there was: comparing it then takes no time.
func TestRebuilderKeepsWhatStays(t *testing.T) {
	t.Parallel()
	again := new(Rebuilder)
	spec, places := manyRelays(1000).placed()
	first := again.Build(spec, places)
	changed := manyRelays(1000)
	changed.relays[500].Backends[0].Addr = addr("10.66.0.1")
	second := again.Build(changed.placed())
	if !shared(first.set(t, "listens4").Elements, second.set(t, "listens4").Elements) {
		t.Error("what clients dial is in other memory, although it has not changed")
	}
	if shared(first.set(t, "targets4").Elements, second.set(t, "targets4").Elements) {
		t.Error("the backends are in the same memory, although one has changed")
	}
}

// TestSame changes each field of a relay and wants that to be seen; so that no field is forgotten that is added.
func TestSame(t *testing.T) {
	t.Parallel()
	checkSame(t, func() *Relay { r := relayOf("r", 80, "10.3.0.100"); return &r }, (*Relay).same)
	checkSame(t, func() *Placement { r := relayOf("r", 80, "10.3.0.100"); p := placed(&r); return &p }, (*Placement).same)
	checkSame(t, func() *Target { return &Target{Addr: addr("10.3.0.100")} }, func(a, b *Target) bool { return a.Same(*b) })
}

func checkSame[T any](t *testing.T, one func() *T, same func(a, b *T) bool) {
	t.Helper()
	if !same(one(), one()) {
		t.Errorf("two of one %T are not the same", one())
	}
	eachField(reflect.ValueOf(one()).Elem(), "", func(path []int, name string) {
		other := one()
		alter(t, reflect.ValueOf(other).Elem().FieldByIndex(path))
		if same(one(), other) {
			t.Errorf("%T: another %s is not seen", other, name)
		}
	})
}

// eachField calls do with the fields of a struct and of structs in it.
func eachField(v reflect.Value, prefix string, do func(path []int, name string)) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Type.Kind() == reflect.Struct && !strings.HasPrefix(f.Type.String(), "netip.") {
			eachField(v.Field(i), prefix+f.Name+".", func(path []int, name string) { do(append([]int{i}, path...), name) })
			continue
		}
		do([]int{i}, prefix+f.Name)
	}
}

// alter gives a field another value.
func alter(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Interface().(type) {
	case netip.Addr:
		v.Set(reflect.ValueOf(addr("192.0.2.9")))
		return
	case []netip.Addr:
		v.Set(reflect.ValueOf(addresses("192.0.2.9")))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.Uint8, reflect.Uint16:
		v.SetUint(v.Uint() + 1)
	case reflect.Slice:
		v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
	default:
		t.Fatalf("how is a %s altered?", v.Type())
	}
}
