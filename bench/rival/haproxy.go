package rival

import (
	"context"
	"fmt"
	"strings"
	"syscall"

	"natd/bench/arena"
)

// HAProxy relays TCP with HAProxy, one "listen" section for each relay. What is global, and the times, are those of Debian's
// haproxy.cfg, but for its log of every connection, for there is no syslog; it runs with a master, as in Debian's unit.
func HAProxy() arena.Candidate {
	return Program{
		name: "haproxy",
		unfit: func(j arena.Job) string {
			if j.UDP {
				return "relays no UDP"
			}
			return ""
		},
		files:  func(j arena.Job) int { return j.Relays },
		config: haproxyConfig,
		command: func(file string) []string {
			return []string{"haproxy", "-W", "-f", file}
		},
		reload: haproxyReload,
	}
}

const haproxyGlobal = `global
	chroot /var/lib/haproxy
	user haproxy
	group haproxy
defaults
	mode tcp
	option dontlognull
	timeout connect 5000
	timeout client 50000
	timeout server 50000
`

func haproxyConfig(_ string, j arena.Job) string {
	var text strings.Builder
	text.WriteString(haproxyGlobal)
	for i := range j.Relays {
		fmt.Fprintf(&text, "listen relay-%06d\n\tbind %v\n", i, j.Listen(i))
		if sources := j.Sources(i); len(sources) > 0 {
			fmt.Fprintf(&text, "\ttcp-request connection reject unless { src %s }\n", strings.ReplaceAll(list(sources), ",", ""))
		}
		fmt.Fprintf(&text, "\tserver target %v\n", j.Target(i))
	}
	return text.String()
}

// haproxyReload is what ExecReload= of Debian's unit does.
func haproxyReload(ctx context.Context, p *program, _ arena.Job) error {
	if _, err := p.arena.B.Run(ctx, "haproxy", "-W", "-f", p.file(), "-c", "-q"); err != nil {
		return err
	}
	return p.process.Signal(syscall.SIGUSR2)
}
