package probe

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// resolvConf is how to resolve names: what natd heeds of resolv.conf(5).
type resolvConf struct {
	servers  []netip.AddrPort
	search   []string
	ndots    int // a name with as many dots is absolute
	attempts int
	timeout  time.Duration // of one question to one server
	rotate   bool          // do not begin with the first server each time
	tcp      bool          // ask by TCP only ("use-vc")
}

// The port of DNS (RFC 1035, 4.2), and the values and bounds of resolv.conf(5).
const (
	dnsPort         = 53
	maxServers      = 3
	defaultNdots    = 1
	maxNdots        = 15
	defaultAttempts = 2
	maxAttempts     = 5
	defaultTimeout  = 5 * time.Second
	maxTimeout      = 30 * time.Second
)

// ownTimeout is the time-out for the resolver that natd's configuration names.
const ownTimeout = 2 * time.Second

// only is the way to resolve with this server and nothing else.
func only(server netip.AddrPort) *resolvConf {
	return &resolvConf{servers: []netip.AddrPort{server}, ndots: defaultNdots, attempts: defaultAttempts, timeout: ownTimeout}
}

// parseResolvConf reads what there is to understand. Lines and options that mean nothing to natd are left out, and without
// any server the one on this host is asked, as resolv.conf(5) says.
func parseResolvConf(text string) *resolvConf {
	conf := &resolvConf{ndots: defaultNdots, attempts: defaultAttempts, timeout: defaultTimeout}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(fields[1]); err == nil && len(conf.servers) < maxServers {
				conf.servers = append(conf.servers, netip.AddrPortFrom(a, dnsPort))
			}
		case "domain":
			conf.search = fields[1:2]
		case "search":
			conf.search = fields[1:]
		case "options":
			for _, o := range fields[1:] {
				conf.option(o)
			}
		}
	}
	if len(conf.servers) == 0 {
		conf.servers = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), dnsPort)}
	}
	return conf
}

func (c *resolvConf) option(text string) {
	key, value, _ := strings.Cut(text, ":")
	n, err := strconv.Atoi(value)
	given := err == nil && n >= 0
	switch {
	case key == "rotate":
		c.rotate = true
	case key == "use-vc":
		c.tcp = true
	case key == "ndots" && given:
		c.ndots = min(n, maxNdots)
	case key == "attempts" && given:
		c.attempts = min(max(n, 1), maxAttempts)
	case key == "timeout" && given:
		c.timeout = min(time.Duration(max(n, 1))*time.Second, maxTimeout)
	}
}

// candidates are the full names that a host's name may stand for, in the order to ask for them. A name with enough dots
// stands for itself alone: were it also sought in the search list, an NXDOMAIN could become the address of another host.
func (c *resolvConf) candidates(host string) []string {
	host = strings.TrimSuffix(host, ".")
	if strings.Count(host, ".") >= c.ndots {
		return []string{host + "."}
	}
	var names []string
	for _, domain := range c.search {
		if domain = strings.Trim(domain, "."); domain != "" {
			names = append(names, host+"."+domain+".")
		}
	}
	return append(names, host+".")
}
