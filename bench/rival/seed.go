package rival

import (
	"fmt"
	"strings"

	"natd/bench/arena"
)

// Seed is the script that most write, and that natd began from: for each relay one rule of DNAT and one of SNAT, in a row.
func Seed() arena.Candidate { return Ruleset{name: "seed", script: seedScript} }

func seedScript(j arena.Job) string {
	var pre, post strings.Builder
	for i := range j.Relays {
		l, t := j.Listen(i), j.Target(i)
		from := ""
		if s := j.Sources(i); len(s) == 1 {
			from = fmt.Sprintf("ip saddr %v ", s[0])
		} else if len(s) > 1 {
			from = fmt.Sprintf("ip saddr { %s } ", list(s))
		}
		fmt.Fprintf(&pre, "\t\t%sip daddr %v %s dport %d dnat to %v\n", from, l.Addr(), j.Protocol(), l.Port(), t)
		fmt.Fprintf(&post, "\t\t%soifname %q ip daddr %v %s dport %d snat to 10.2.0.100\n", from, arena.ToServer, t.Addr(), j.Protocol(), t.Port())
	}
	return fmt.Sprintf(`table ip %s {
	chain prerouting {
		type nat hook prerouting priority -100;
%s	}
	chain postrouting {
		type nat hook postrouting priority 100;
%s	}
}
`, table, &pre, &post)
}

// list writes values as nft wants the elements of a set.
func list[T any](values []T) string {
	text := make([]string, len(values))
	for i, v := range values {
		text[i] = fmt.Sprint(v)
	}
	return strings.Join(text, ", ")
}
