package probe

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// patience is how long something may take that takes a moment.
const patience = 10 * time.Second

// script is a name server that does as the test says.
type script struct {
	addr netip.AddrPort

	mu    sync.Mutex
	serve func(network string, q *dns.Msg) *dns.Msg // nil = silence
	asked []string                                  // "udp db.lab. A"
}

// startScript starts a server on the loopback interface, UDP and TCP on one port.
func startScript(t *testing.T, serve func(network string, q *dns.Msg) *dns.Msg) *script {
	t.Helper()
	s := &script{serve: serve}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s.addr = netip.MustParseAddrPort(tcp.Addr().String())
	for _, server := range []*dns.Server{{Listener: tcp}, {PacketConn: udp}} {
		up := make(chan struct{})
		server.Handler, server.NotifyStartedFunc = s, func() { close(up) }
		go func() {
			if err := server.ActivateAndServe(); err != nil {
				t.Error(err)
			}
		}()
		<-up
		t.Cleanup(func() {
			if err := server.Shutdown(); err != nil {
				t.Error(err)
			}
		})
	}
	return s
}

// ServeDNS answers one question.
func (s *script) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	network := w.LocalAddr().Network()
	s.mu.Lock()
	s.asked = append(s.asked, fmt.Sprintf("%s %s %s", network, q.Question[0].Name, dns.TypeToString[q.Question[0].Qtype]))
	serve := s.serve
	s.mu.Unlock()
	if answer := serve(network, q); answer != nil {
		_ = w.WriteMsg(answer) // who does not wait for it any more does not get it
	}
}

// set changes what the server does.
func (s *script) set(serve func(network string, q *dns.Msg) *dns.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serve = serve
}

func (s *script) questions() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.asked, ", ")
}

// says answers every question with these records.
func says(t testing.TB, text string) func(string, *dns.Msg) *dns.Msg {
	t.Helper()
	all := records(t, text)
	return func(_ string, q *dns.Msg) *dns.Msg {
		m := new(dns.Msg).SetReply(q)
		for _, r := range all {
			m.Answer = append(m.Answer, dns.Copy(r)) // packing writes to it
		}
		return m
	}
}

// fails answers every question with this code.
func fails(code int) func(string, *dns.Msg) *dns.Msg {
	return func(_ string, q *dns.Msg) *dns.Msg { return new(dns.Msg).SetRcode(q, code) }
}

func silent(string, *dns.Msg) *dns.Msg { return nil }

// resolverOf is a resolver that asks these servers, quickly.
func resolverOf(servers ...netip.AddrPort) (*resolver, *resolvConf) {
	return &resolver{dial: new(net.Dialer).DialContext}, &resolvConf{servers: servers, ndots: 1, attempts: 2, timeout: 200 * time.Millisecond}
}

// TestServersInTurn has a first server with something wrong, and a second one that knows.
func TestServersInTurn(t *testing.T) {
	t.Parallel()
	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := netip.MustParseAddrPort(closed.LocalAddr().String())
	closed.Close()
	tests := map[string]struct {
		first func(string, *dns.Msg) *dns.Msg // nil: there is none
		want  string
		err   string
	}{
		"answers":     {says(t, "db.lab. 60 A 10.3.0.9"), "10.3.0.9", ""},
		"is silent":   {silent, "10.3.0.1", ""},
		"is gone":     {nil, "10.3.0.1", ""},
		"SERVFAIL":    {fails(dns.RcodeServerFailure), "10.3.0.1", ""},
		"REFUSED":     {fails(dns.RcodeRefused), "10.3.0.1", ""},
		"NXDOMAIN":    {fails(dns.RcodeNameError), "", "NXDOMAIN"},
		"is empty":    {says(t, ""), "", "no address"},
		"another one": {func(_ string, q *dns.Msg) *dns.Msg { q.Question[0].Name = "x.lab."; return new(dns.Msg).SetReply(q) }, "10.3.0.1", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first := nobody
			if tt.first != nil {
				first = startScript(t, tt.first).addr
			}
			r, conf := resolverOf(first, startScript(t, says(t, "db.lab. 60 A 10.3.0.1")).addr)
			got, err := r.ask(t.Context(), conf, "db.lab.", IPv4)
			if texts(got.addrs) != tt.want || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%v, %v, want %q, %q", got, err, tt.want, tt.err)
			}
		})
	}
}

// TestEveryServerFails wants each named with what is wrong, after each attempt, and in time.
func TestEveryServerFails(t *testing.T) {
	t.Parallel()
	one, two := startScript(t, silent), startScript(t, fails(dns.RcodeServerFailure))
	r, conf := resolverOf(one.addr, two.addr)
	began := time.Now()
	_, err := r.ask(t.Context(), conf, "db.lab.", IPv4)
	want := fmt.Sprintf("%v: no answer within 200ms; %v: it answers SERVFAIL", one.addr, two.addr)
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if took := time.Since(began); took < 400*time.Millisecond || took > patience {
		t.Errorf("it took %v", took)
	}
	if got := two.questions(); got != "udp db.lab. A, udp db.lab. A" {
		t.Errorf("asked: %s", got)
	}
}

// TestLongAnswer comes by TCP.
func TestLongAnswer(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for i := range 200 {
		fmt.Fprintf(&text, "db.lab. 60 A 10.3.0.%d\n", i+1)
	}
	whole := says(t, text.String())
	s := startScript(t, func(network string, q *dns.Msg) *dns.Msg {
		m := whole(network, q)
		if network == "udp" {
			m.Truncate(udpSize)
		}
		return m
	})
	r, conf := resolverOf(s.addr)
	got, err := r.ask(t.Context(), conf, "db.lab.", IPv4)
	if err != nil || len(got.addrs) != 200 {
		t.Errorf("%d addresses, %v, want all 200", len(got.addrs), err)
	}
	if got := s.questions(); got != "udp db.lab. A, tcp db.lab. A" {
		t.Errorf("asked: %s", got)
	}
}

// TestHalfAnAnswer is none: TCP does not work, so nobody knows the whole set.
func TestHalfAnAnswer(t *testing.T) {
	t.Parallel()
	whole := says(t, "db.lab. 60 A 10.3.0.1")
	s := startScript(t, func(network string, q *dns.Msg) *dns.Msg {
		if network == "tcp" {
			return nil
		}
		m := whole(network, q)
		m.Truncated = true
		return m
	})
	r, conf := resolverOf(s.addr)
	if got, err := r.ask(t.Context(), conf, "db.lab.", IPv4); err == nil {
		t.Errorf("got %v, want an error", got)
	}
}

// TestWithoutEDNS has a server that has never heard of it.
func TestWithoutEDNS(t *testing.T) {
	t.Parallel()
	good := says(t, "db.lab. 60 A 10.3.0.1")
	s := startScript(t, func(network string, q *dns.Msg) *dns.Msg {
		if q.IsEdns0() != nil {
			return new(dns.Msg).SetRcodeFormatError(q)
		}
		return good(network, q)
	})
	r, conf := resolverOf(s.addr)
	if got, err := r.ask(t.Context(), conf, "db.lab.", IPv4); err != nil || texts(got.addrs) != "10.3.0.1" {
		t.Errorf("%v, %v", got, err)
	}
	s.set(fails(dns.RcodeFormatError))
	if got, err := r.ask(t.Context(), conf, "db.lab.", IPv4); err == nil || !strings.Contains(err.Error(), "FORMERR") {
		t.Errorf("%v, %v, want it to give up", got, err)
	}
}

// TestSearchList goes on after NXDOMAIN, and not after a failure: the next name would be another host.
func TestSearchList(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		first     int
		want      string
		questions string
	}{
		"NXDOMAIN": {dns.RcodeNameError, "10.3.0.1", "udp db.a.lab. A, udp db.b.lab. A"},
		"SERVFAIL": {dns.RcodeServerFailure, "", "udp db.a.lab. A, udp db.a.lab. A"},
	}
	for name, tt := range tests {
		good := says(t, "db.b.lab. 60 A 10.3.0.1")
		s := startScript(t, func(network string, q *dns.Msg) *dns.Msg {
			if q.Question[0].Name == "db.a.lab." {
				return fails(tt.first)(network, q)
			}
			return good(network, q)
		})
		r, conf := resolverOf(s.addr)
		conf.search = []string{"a.lab", "b.lab"}
		r.conf = conf // of a file that is not there
		got, _ := r.lookup(t.Context(), "db", IPv4)
		if texts(got.addrs) != tt.want || s.questions() != tt.questions {
			t.Errorf("%s: %v, asked: %s", name, got, s.questions())
		}
	}
}

// TestResolvConfIsReadAgain when it changes, is replaced, goes and comes.
func TestResolvConfIsReadAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "resolv.conf")
	write := func(name, server string) {
		t.Helper()
		if err := os.WriteFile(name, []byte("nameserver "+server+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := &resolver{path: path}
	want := func(server string) {
		t.Helper()
		if got := r.configuration().servers[0].String(); got != server {
			t.Errorf("the server is %s, want %s", got, server)
		}
	}
	want("127.0.0.1:53")
	write(path, "10.0.0.2")
	want("10.0.0.2:53")
	if first, again := r.configuration(), r.configuration(); first != again {
		t.Error("read again without a reason")
	}
	write(path, "10.10.0.2")
	want("10.10.0.2:53")
	write(path+".new", "10.10.0.3")
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	want("10.10.0.3:53")
	r.use(netip.MustParseAddrPort("10.0.0.9:5353"))
	want("10.0.0.9:5353")
	r.use(netip.AddrPort{})
	want("10.10.0.3:53")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	want("127.0.0.1:53")
}

// TestQuestionEndsWithItsContext asks a server that is silent.
func TestQuestionEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := startScript(t, silent)
	r, conf := resolverOf(s.addr)
	conf.timeout = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := r.ask(ctx, conf, "db.lab.", IPv4)
		done <- err
	}()
	deadline := time.Now().Add(patience)
	for s.questions() == "" && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	cancel()
	select {
	case err := <-done:
		if err == nil {
			t.Error("no error")
		}
	case <-time.After(patience):
		t.Error("the question outlives its context")
	}
}
