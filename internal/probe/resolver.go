package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// maxResolvConf bounds what is read of resolv.conf, in bytes.
const maxResolvConf = 64 << 10

// resolver asks name servers.
type resolver struct {
	path string // of resolv.conf
	dial func(ctx context.Context, network, address string) (net.Conn, error)

	mu    sync.Mutex
	fixed netip.AddrPort // the only server to ask; the zero AddrPort leaves it to resolv.conf
	conf  *resolvConf    // what the file said when it was read
	file  os.FileInfo    // when it was read; nil when there was none
}

// configuration is how to resolve at this moment. resolv.conf is read again when it is another file or has changed.
func (r *resolver) configuration() *resolvConf {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fixed.IsValid() {
		return only(r.fixed)
	}
	now, err := os.Stat(r.path)
	if err != nil {
		now = nil
	}
	if r.conf == nil || !sameFile(r.file, now) {
		r.conf, r.file = parseResolvConf(readResolvConf(r.path)), now
	}
	return r.conf
}

// use makes this the only server to ask, and tells whether it was not so before.
func (r *resolver) use(server netip.AddrPort) (changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed = r.fixed != server
	r.fixed = server
	return changed
}

func sameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// readResolvConf is the content of resolv.conf. A file that cannot be read says nothing (resolv.conf(5)).
func readResolvConf(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	var text strings.Builder
	if _, err := io.Copy(&text, io.LimitReader(file, maxResolvConf)); err != nil {
		return ""
	}
	return text.String()
}

// lookup finds the addresses of a host. It goes on to the next candidate only when there is no such name or it has no
// address: while a server is out of order nobody knows, and another name would be another host.
func (r *resolver) lookup(ctx context.Context, host string, f Family) (found, error) {
	conf := r.configuration()
	var first error
	for _, name := range conf.candidates(host) {
		got, err := r.ask(ctx, conf, name, f)
		if err == nil || !definite(err) {
			return got, err
		}
		if first == nil {
			first = err
		}
	}
	return found{}, first
}

// definite tells whether another server would say the same.
func definite(err error) bool { return errors.Is(err, errNoName) || errors.Is(err, errNoAddress) }

// ask asks one server after the other until one answers. The error is what each said last.
func (r *resolver) ask(ctx context.Context, conf *resolvConf, name string, f Family) (found, error) {
	first := 0
	if conf.rotate {
		first = rand.IntN(len(conf.servers))
	}
	failed := make([]string, len(conf.servers))
	for range conf.attempts {
		for i := range conf.servers {
			server := conf.servers[(first+i)%len(conf.servers)]
			got, err := r.askOne(ctx, conf, server, name, f)
			if err == nil {
				return got, nil
			}
			err = fmt.Errorf("%v: %w", server, err)
			if definite(err) || ctx.Err() != nil {
				return found{}, err
			}
			failed[i] = err.Error()
		}
	}
	return found{}, errors.New(strings.Join(failed, "; "))
}

// askOne asks one server: by UDP, by TCP when the answer is too long, and without EDNS when the server is older than that
// (RFC 6891, 7).
func (r *resolver) askOne(ctx context.Context, conf *resolvConf, server netip.AddrPort, name string, f Family) (found, error) {
	network, message := "udp", question(name, f)
	if conf.tcp {
		network = "tcp"
	}
	for {
		answer, err := r.exchange(ctx, network, conf.timeout, server, message)
		switch {
		case answer != nil && answer.Id == message.Id && answer.Truncated && network == "udp":
			network = "tcp"
		case err != nil:
			return found{}, describe(err, conf.timeout)
		case answer.Rcode == dns.RcodeFormatError && message.IsEdns0() != nil:
			message.Extra = nil
		default:
			return read(message, answer, f)
		}
	}
}

// exchange sends a message from a port of its own and waits for the answer, within the time-out. Even with an error there
// may be the beginning of an answer.
func (r *resolver) exchange(ctx context.Context, network string, timeout time.Duration, server netip.AddrPort, m *dns.Msg) (*dns.Msg, error) {
	inTime, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := r.dial(inTime, network, server.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	// The library heeds the deadline of a context, but not its end before that.
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	client := dns.Client{Timeout: timeout}
	answer, _, err := client.ExchangeWithConnContext(inTime, m, &dns.Conn{Conn: conn})
	return answer, err
}

// describe puts the failure of a question in words.
func describe(err error, timeout time.Duration) error {
	if timedOut, ok := errors.AsType[net.Error](err); ok && timedOut.Timeout() {
		return fmt.Errorf("no answer within %v", timeout)
	}
	if failed, ok := errors.AsType[*net.OpError](err); ok {
		return failed.Err // the rest is the server's address, which is told already
	}
	return fmt.Errorf("no answer that can be read: %w", err)
}
