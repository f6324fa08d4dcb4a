package config

import (
	"fmt"

	"natd/nat"
)

// maxBackends bounds what a relay can spread over: so many shares does the kernel deal out in turn.
const maxBackends = 256

// backends reads where connections go. The n-th backend is the n-th of the list, zero when it is wrong.
func (t *table) backends(listen nat.PortRange) []nat.Backend {
	const key, example = "to", "10.3.0.100:80"
	v, ok := t.values[key]
	if !ok {
		t.failMissing(key, fmt.Sprintf("where connections go, such as %s = [%q]", key, example))
		return nil
	}
	items := anyItems(v)
	switch {
	case items == nil:
		t.list(key, example) // knows what is wrong
		return nil
	case len(items) == 0:
		t.fail(key, "an empty list would lead nowhere: name a backend")
		return nil
	case len(items) > maxBackends:
		t.fail(key, fmt.Sprintf("%d backends are more than the limit of %d", len(items), maxBackends))
		return nil
	}
	all := make([]nat.Backend, len(items))
	for i, item := range items {
		switch item := item.(type) {
		case string:
			all[i] = t.backend(i, item, listen)
		case map[string]any:
			all[i] = t.backendTable(itemKey(key, i, len(items)), t.lines.item(key, i), item, listen)
		default:
			t.failItem(key, i, "must be a string in quotes, or a table such as {address = \""+example+"\"}")
		}
	}
	t.checkBackends(key, all)
	return t.doc.backends.share(all)
}

func (t *table) backend(i int, s string, listen nat.PortRange) nat.Backend {
	b, err := parseBackend(s, listen)
	if err != nil {
		t.failItem("to", i, err.Error())
		return nat.Backend{}
	}
	return b
}

// backendTable reads {address = "10.3.0.100:80", weight = 1, backup = false}.
func (t *table) backendTable(path string, line int, values map[string]any, listen nat.PortRange) nat.Backend {
	const key = "address"
	sub := t.below(path, line, values, backendKeys)
	weight, backup := sub.number("weight", 1, 1, nat.MaxWeight), sub.flag("backup", false)
	s, ok := sub.text(key)
	if !ok {
		sub.failMissing(key, `where connections go, such as address = "10.3.0.100:80"`)
		return nat.Backend{}
	}
	b, err := parseBackend(s, listen)
	if err != nil {
		sub.fail(key, err.Error())
		return nat.Backend{}
	}
	b.Weight, b.Backup = weight, backup
	return b
}

// checkBackends looks for contradictions between the backends of a relay.
func (t *table) checkBackends(key string, all []nat.Backend) {
	backups := 0
	first := make(map[nat.Backend]int, len(all))
	for i, b := range all {
		if b.Backup {
			backups++
		}
		b.Weight, b.Backup = 0, false
		if b == (nat.Backend{}) {
			continue
		}
		if j, twice := first[b]; twice {
			t.failItem(key, i, fmt.Sprintf("%s is backend %d already; for a larger share give it a weight", b, j+1))
			continue
		}
		first[b] = i
	}
	if backups == len(all) {
		t.fail(key, "all backends are backups: at least one must be none, for a backup takes connections only while every other one is down")
	}
}
