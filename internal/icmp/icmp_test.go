package icmp

import "testing"

func TestMessage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		m    Message
		name string
		is   string // of what it is: error, big, port, host, prohibited
	}{
		{Message{Type: Echo}, "icmp type 8 code 0", ""},
		{Message{V6: true, Type: EchoReply6}, "icmpv6 type 129 code 0", ""},
		{Message{Type: 3, Code: 1}, "host-unreachable", "error host"},
		{Message{Type: 3, Code: 3}, "port-unreachable", "error port"},
		{Message{Type: 3, Code: 4}, "frag-needed", "error big"},
		{Message{Type: 3, Code: 13}, "admin-prohibited", "error prohibited"},
		{Message{Type: 3, Code: 99}, "icmp type 3 code 99", "error"},
		{Message{Type: 11}, "ttl-exceeded", "error"},
		{Message{V6: true, Type: 1}, "no-route", "error"},
		{Message{V6: true, Type: 1, Code: 1}, "admin-prohibited", "error prohibited"},
		{Message{V6: true, Type: 1, Code: 3}, "addr-unreachable", "error host"},
		{Message{V6: true, Type: 1, Code: 4}, "port-unreachable", "error port"},
		{Message{V6: true, Type: 2}, "packet-too-big", "error big"},
		{Message{V6: true, Type: 3}, "hop-limit-exceeded", "error"},
	} {
		is := ""
		for _, k := range []struct {
			word string
			yes  bool
		}{
			{"error", tt.m.IsError()},
			{" big", tt.m.IsTooBig()},
			{" port", tt.m.IsPortUnreachable()},
			{" host", tt.m.IsHostUnreachable()},
			{" prohibited", tt.m.IsProhibited()},
		} {
			if k.yes {
				is += k.word
			}
		}
		if name := tt.m.String(); name != tt.name || is != tt.is {
			t.Errorf("%+v is %q (%s), want %q (%s)", tt.m, name, is, tt.name, tt.is)
		}
	}
}
