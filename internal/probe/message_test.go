package probe

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// records parses resource records as zone files have them, one a line.
func records(t testing.TB, text string) (all []dns.RR) {
	t.Helper()
	for line := range strings.Lines(text) {
		r, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		if r != nil {
			all = append(all, r)
		}
	}
	return all
}

// texts is the addresses as text.
func texts(addrs []netip.Addr) string {
	var all []string
	for _, a := range addrs {
		all = append(all, a.String())
	}
	return strings.Join(all, " ")
}

func TestRead(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, records string
		family        Family
		want          string
		ttl           time.Duration
		err           error
	}{
		{"addresses, in order", "db.lab. 60 A 10.3.0.2\ndb.lab. 30 A 10.3.0.1\ndb.lab. 60 A 10.3.0.2", IPv4, "10.3.0.1 10.3.0.2", 30 * time.Second, nil},
		{"IPv6", "db.lab. 60 AAAA fd00::2\ndb.lab. 60 AAAA fd00::1", IPv6, "fd00::1 fd00::2", time.Minute, nil},
		{"names in capitals", "DB.Lab. 60 A 10.3.0.1", IPv4, "10.3.0.1", time.Minute, nil},
		{"aliases, in any order, with the least TTL", "c.lab. 60 A 10.3.0.1\nb.lab. 5 CNAME C.lab.\ndb.lab. 300 CNAME b.lab.", IPv4, "10.3.0.1", 5 * time.Second, nil},
		{"a TTL below zero (RFC 2181, 8)", "db.lab. 4294967295 A 10.3.0.1", IPv4, "10.3.0.1", 0, nil},
		{"the longest TTL", "db.lab. 2147483647 A 10.3.0.1", IPv4, "10.3.0.1", 2147483647 * time.Second, nil},
		{"nothing", "", IPv4, "", 0, errNoAddress},
		{"another family", "db.lab. 60 AAAA fd00::1", IPv4, "", 0, errNoAddress},
		{"another name", "other.lab. 60 A 10.3.0.1", IPv4, "", 0, errNoAddress},
		{"another class", "db.lab. 60 CH A 10.3.0.1", IPv4, "", 0, errNoAddress},
		{"aliases without an end", "db.lab. 60 CNAME b.lab.\nb.lab. 60 CNAME db.lab.", IPv4, "", 0, errNoAddress},
		{"an alias for nothing", "db.lab. 60 CNAME b.lab.", IPv4, "", 0, errNoAddress},
		{
			"addresses that are no other host's",
			"db.lab. 60 A 0.0.0.0\ndb.lab. 60 A 127.0.0.1\ndb.lab. 60 A 169.254.169.254\ndb.lab. 60 A 224.0.0.1\ndb.lab. 60 A 255.255.255.255",
			IPv4, "", 0, errNoAddress,
		},
		{
			"addresses that are no other host's, of IPv6",
			"db.lab. 60 AAAA ::\ndb.lab. 60 AAAA ::1\ndb.lab. 60 AAAA fe80::1\ndb.lab. 60 AAAA ff02::1\ndb.lab. 60 AAAA ::ffff:10.3.0.1\ndb.lab. 60 AAAA fd00:ec2::254",
			IPv6, "", 0, errNoAddress,
		},
		{"one of those among good ones", "db.lab. 60 A 127.0.0.1\ndb.lab. 60 A 10.3.0.1", IPv4, "10.3.0.1", time.Minute, nil},
	}
	for _, tt := range tests {
		asked := question("db.lab.", tt.family)
		answer := new(dns.Msg).SetReply(asked)
		answer.Answer = records(t, tt.records)
		got, err := read(asked, answer, tt.family)
		if texts(got.addrs) != tt.want || got.ttl != tt.ttl || !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, %v, want %q with the TTL %v, %v", tt.name, got, err, tt.want, tt.ttl, tt.err)
		}
	}
}

// TestReadRefuses has answers that are none, though they hold an address.
func TestReadRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		spoil func(*dns.Msg)
		want  string
	}{
		"another id":       {func(m *dns.Msg) { m.Id++ }, "another question"},
		"a question":       {func(m *dns.Msg) { m.Response = false }, "another question"},
		"another name":     {func(m *dns.Msg) { m.Question[0].Name = "other.lab." }, "another question"},
		"another type":     {func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeMX }, "another question"},
		"another class":    {func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }, "another question"},
		"two questions":    {func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }, "another question"},
		"no question":      {func(m *dns.Msg) { m.Question = nil }, "another question"},
		"a notification":   {func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }, "another question"},
		"NXDOMAIN":         {func(m *dns.Msg) { m.Rcode = dns.RcodeNameError }, "no such name"},
		"SERVFAIL":         {func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure }, "SERVFAIL"},
		"REFUSED":          {func(m *dns.Msg) { m.Rcode, m.Question = dns.RcodeRefused, nil }, "REFUSED"},
		"an unknown rcode": {func(m *dns.Msg) { m.Rcode = 14 }, "code 14"},
	}
	for name, tt := range tests {
		asked := question("db.lab.", IPv4)
		answer := new(dns.Msg).SetReply(asked)
		answer.Answer = records(t, "db.lab. 60 A 10.3.0.1")
		tt.spoil(answer)
		got, err := read(asked, answer, IPv4)
		if err == nil || !strings.Contains(err.Error(), tt.want) || len(got.addrs) > 0 {
			t.Errorf("%s: %v, %v, want an error with %q", name, got, err, tt.want)
		}
	}
}

// TestReadIsBounded has more addresses than any name needs: the same ones are taken whatever their order.
func TestReadIsBounded(t *testing.T) {
	t.Parallel()
	asked := question("db.lab.", IPv4)
	answer := new(dns.Msg).SetReply(asked)
	for i := range 3000 {
		answer.Answer = append(answer.Answer, records(t, fmt.Sprintf("db.lab. 60 A 10.3.%d.%d", i/250, i%250+1))...)
	}
	one, err := read(asked, answer, IPv4)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(answer.Answer)
	two, err := read(asked, answer, IPv4)
	if err != nil || len(one.addrs) != maxAddrs || !slices.Equal(one.addrs, two.addrs) {
		t.Errorf("%d and %d addresses, %v, want the same %d", len(one.addrs), len(two.addrs), err, maxAddrs)
	}
}

// FuzzRead reads what a server may write: whatever it is, what comes out of it is fit for use.
func FuzzRead(f *testing.F) {
	asked := question("db.lab.", IPv4)
	asked.Id = 1
	for _, text := range []string{
		"db.lab. 60 A 10.3.0.1",
		"db.lab. 60 CNAME b.lab.\nb.lab. 5 A 10.3.0.1\nb.lab. 5 A 127.0.0.1",
		"db.lab. 60 AAAA fd00::1\ndb.lab. 60 AAAA ::ffff:10.3.0.1",
		"db.lab. 60 CNAME db.lab.",
	} {
		answer := new(dns.Msg).SetReply(asked)
		answer.Answer = records(f, text)
		wire, err := answer.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire, true)
		f.Add(wire, false)
	}
	f.Fuzz(func(t *testing.T, wire []byte, six bool) {
		var answer dns.Msg
		if answer.Unpack(wire) != nil {
			return
		}
		family := IPv4
		if six {
			family = IPv6
		}
		q := question("db.lab.", family)
		q.Id = answer.Id
		got, err := read(q, &answer, family)
		if (err == nil) != (len(got.addrs) > 0) || len(got.addrs) > maxAddrs || got.ttl < 0 {
			t.Errorf("%v, %v", got, err)
		}
		if !slices.Equal(got.addrs, usable(got.addrs, family)) {
			t.Errorf("%v is not in order", got.addrs)
		}
	})
}
