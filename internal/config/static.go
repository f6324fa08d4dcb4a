package config

import (
	"fmt"
	"net/netip"

	"natd/nat"
)

// staticOf reads a [[static]] table.
func staticOf(t *table) nat.Static {
	s := nat.Static{
		Name:          t.name("overlap-c"),
		External:      t.translated("external", `what clients dial, such as external = "10.2.64.0/24"`),
		Internal:      t.translated("internal", `what it becomes, such as internal = "192.168.1.0/24"`),
		From:          t.sources(),
		SNAT:          t.snat(),
		Enabled:       t.flag("enabled", true),
		OverrideLocal: t.flag("override_local", false),
	}
	t.checkDisjoint("from", s.From)
	if !s.External.IsValid() || !s.Internal.IsValid() {
		return s
	}
	f := familyOf(s.External.Addr())
	switch internal := familyOf(s.Internal.Addr()); {
	case internal != f:
		t.fail("internal", fmt.Sprintf("%s, but external is %s: natd does not turn one into the other", internal, f))
		return s
	case s.Internal.Bits() != s.External.Bits():
		t.fail("internal", fmt.Sprintf("/%d, but external is /%d: both must have the same length, for each address becomes one",
			s.Internal.Bits(), s.External.Bits()))
	case s.Internal.Overlaps(s.External):
		t.fail("internal", fmt.Sprintf("overlaps external (%s): a packet could not tell whether it is translated already", s.External))
	}
	t.checkFamily("from", f, s.From, "external")
	t.checkPool(f, f, s.SNAT, "external")
	return s
}

// translated returns the network under the key; the zero value when there is none, or a wrong one.
func (t *table) translated(key, what string) netip.Prefix {
	s, ok := t.text(key)
	if !ok {
		t.failMissing(key, what)
		return netip.Prefix{}
	}
	p, err := parseTranslated(s)
	if err != nil {
		t.fail(key, err.Error())
		return netip.Prefix{}
	}
	return p
}
