package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"natd/nat"
)

// snat reads auto, off, an address, a range of addresses, or a list of both.
func (t *table) snat() nat.SNAT {
	const key = "snat"
	v, ok := t.values[key]
	if !ok || v == "auto" {
		return nat.SNAT{}
	}
	if v == "off" {
		return nat.SNAT{Mode: nat.SNATOff}
	}
	var list []string
	switch v := v.(type) {
	case string:
		list = []string{v}
	case []any:
		if list, ok = t.list(key, ""); !ok {
			return nat.SNAT{}
		}
	default:
		t.fail(key, `must be "auto", "off", an address or a range in quotes, or a list of them`)
		return nat.SNAT{}
	}
	addrs, err := parsePool(list)
	if err != nil {
		t.fail(key, err.Error())
		return nat.SNAT{}
	}
	return nat.SNAT{Mode: nat.SNATFixed, Addrs: addrs}
}

// parsePool reads addresses and ranges of addresses.
func parsePool(list []string) ([]netip.Addr, error) {
	if len(list) == 0 {
		return nil, errors.New(`an empty list has no address to send from; leave the key out for "auto"`)
	}
	var pool []netip.Addr
	seen := make(map[netip.Addr]bool, len(list))
	for _, s := range list {
		first, last, err := parseRange(s, len(list) > 1)
		if err != nil {
			return nil, err
		}
		for a := first; a.IsValid() && a.Compare(last) <= 0; a = a.Next() {
			if seen[a] {
				return nil, fmt.Errorf("%s is listed twice", a)
			}
			if len(pool) == nat.MaxPool {
				return nil, fmt.Errorf("more than %d addresses: that is the limit of a pool", nat.MaxPool)
			}
			seen[a] = true
			pool = append(pool, a)
		}
	}
	return pool, nil
}

// parseRange reads ADDR or ADDR-ADDR.
func parseRange(s string, inList bool) (first, last netip.Addr, err error) {
	firstText, lastText, isRange := strings.Cut(s, "-")
	if _, notAddr := netip.ParseAddr(firstText); notAddr != nil {
		if inList && (s == "auto" || s == "off") {
			return first, last, fmt.Errorf("%q stands alone: a list has addresses only", s)
		}
		words := []string{"auto", "off"}
		return first, last, fmt.Errorf(`%s must be "auto", "off", an IP address or a range of them%s`, show(s), suggest(s, words))
	}
	if first, err = parseAddr(firstText); err != nil || !isRange {
		return first, first, err
	}
	if last, err = parseAddr(lastText); err != nil {
		return first, last, err
	}
	switch {
	case first.Is4() != last.Is4():
		err = fmt.Errorf("%s-%s is from one family into the other", first, last)
	case last.Less(first):
		err = fmt.Errorf("the first address of %s-%s is above the last; did you mean %s-%s?", first, last, last, first)
	}
	return first, last, err
}

// snatText writes source addresses as the file could have written them.
func snatText(s nat.SNAT) string {
	if len(s.Addrs) == 1 {
		return show(s.Addrs[0].String())
	}
	list := make([]any, len(s.Addrs))
	for i, a := range s.Addrs {
		list[i] = a.String()
	}
	return show(list)
}
