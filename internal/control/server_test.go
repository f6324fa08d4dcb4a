package control

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAnswersOnTheWire(t *testing.T) {
	t.Parallel()
	h := well()
	h.flush = func(context.Context) (*Outcome, error) { return nil, errors.New("<kernel> & co") }
	h.reload = func(context.Context) (*Outcome, error) { return nil, Errorf(CodeConfig, "line 3: wrong") }
	r := run(t, h, nil)
	tests := map[string]struct{ request, want string }{
		"connections": {
			`{"version":1,"op":"connections","args":{"relay":"web"}}`,
			`{"version":1,"ok":true,"data":{"schema_version":1,"connections":[{"relay":"web",`,
		},
		"empty args":   {`{"version":1,"op":"status","args":{}}`, `{"version":1,"ok":true,"data":{"schema_version":1,"version":"1.2.3","state":"ready",`},
		"surplus args": {`{"version":1,"op":"status","args":{"name":"web"}}`, `{"version":1,"ok":false,"error":{"code":2,"message":"the arguments of status`},
		"no relay":     {`{"version":1,"op":"drain"}`, `{"version":1,"ok":false,"error":{"code":2,"message":"drain needs the name of a relay"}}` + "\n"},
		"wrong args":   {`{"version":1,"op":"enable","args":{"relay":1}}`, `{"version":1,"ok":false,"error":{"code":2,"message":"the arguments of enable`},
		"error":        {`{"version":1,"op":"flush"}`, `{"version":1,"ok":false,"error":{"code":1,"message":"<kernel> & co"}}` + "\n"},
		"own code":     {`{"version":1,"op":"reload"}`, `{"version":1,"ok":false,"error":{"code":3,"message":"line 3: wrong"}}` + "\n"},
		"newer":        {`{"version":9,"op":"status"}`, `{"version":1,"ok":false,"error":{"code":1,"message":"protocol version 9 is not supported: natd speaks version 1`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := r.say(t, test.request+"\n")
			if !strings.HasPrefix(got, test.want) || !strings.HasSuffix(got, "}\n") || strings.Count(got, "\n") != 1 {
				t.Errorf("got  %q\nwant %q...", got, test.want)
			}
		})
	}
}

func TestCallEachOperation(t *testing.T) {
	t.Parallel()
	r := run(t, well(), nil)
	var list ConnectionList
	if err := Call(t.Context(), r.path, OpConnections, ConnectionsArgs{Relay: "web"}, &list); err != nil {
		t.Fatal(err)
	}
	want := ConnectionList{SchemaVersion: SchemaVersion, Connections: []Connection{{Relay: "web"}}}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Errorf("connections (-want +got):\n%s", diff)
	}
	for change, request := range map[string]struct {
		op   string
		args any
	}{
		"planned":              {OpPlan, nil},
		"reloaded":             {OpReload, nil},
		"flushed":              {OpFlush, nil},
		"drained web 10.3.0.1": {OpDrain, BackendArgs{Relay: "web", Backend: "10.3.0.1"}},
		"drained web ":         {OpDrain, BackendArgs{Relay: "web"}},
		"enabled web c.test":   {OpEnable, BackendArgs{Relay: "web", Backend: "c.test"}},
	} {
		var got Outcome
		if err := Call(t.Context(), r.path, request.op, request.args, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(Outcome{SchemaVersion: SchemaVersion, Changes: []string{change}}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", request.op, diff)
		}
	}
}

func TestServeEnds(t *testing.T) {
	t.Parallel()
	started := make(chan struct{})
	h := well()
	h.flush = func(ctx context.Context) (*Outcome, error) {
		close(started)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	r := run(t, h, nil)
	idle, asking := r.dial(t), r.dial(t)
	if _, err := asking.Write([]byte("{\"version\":1,\"op\":\"flush\"}\n")); err != nil {
		t.Fatal(err)
	}
	<-started
	r.mustServe(t) // by now the idle connection has been accepted, too

	begin := time.Now()
	if err := r.stop(); err != nil {
		t.Fatalf("Serve: %v", err)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("it took %s", took)
	}
	wantContains(t, hear(t, idle), "natd is stopping")
	wantContains(t, hear(t, asking), `"code":1`, "natd is stopping")
	if _, err := os.Lstat(r.path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	again := runAt(t, r.path, "", well(), nil)
	again.mustServe(t)
}

func TestHandlerTooSlow(t *testing.T) {
	t.Parallel()
	h := well()
	h.reload = func(ctx context.Context) (*Outcome, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	r := run(t, h, func(s *Server) {
		s.limits.handling = func(string) time.Duration { return 30 * time.Millisecond }
	})
	wantContains(t, r.say(t, "{\"version\":1,\"op\":\"reload\"}\n"), `"code":1`, "reload took longer than 30ms")
	wantContains(t, r.log.String(), "change refused or failed", "op=reload")
}

func TestRequestTooSlow(t *testing.T) {
	t.Parallel()
	r := run(t, fake{}, func(s *Server) { s.limits.request = 30 * time.Millisecond })
	wantContains(t, r.say(t, `{"version":1,`), `"code":1`, "no request came within 30ms")
}

func TestLimitsOfTheContract(t *testing.T) {
	t.Parallel()
	l := defaultLimits()
	if l.shared+l.reserved != 32 || l.reserved != 4 || l.request != 5*time.Second || l.write != 10*time.Second {
		t.Errorf("limits %+v", l)
	}
	for op, want := range map[string]time.Duration{OpStatus: 30 * time.Second, OpConnections: 30 * time.Second, OpPlan: 2 * time.Minute, OpReload: 2 * time.Minute, OpFlush: 2 * time.Minute, OpDrain: 2 * time.Minute, OpEnable: 2 * time.Minute} {
		if got := l.handling(op); got != want {
			t.Errorf("%s may take %s, want %s", op, got, want)
		}
	}
}

func TestSlots(t *testing.T) {
	t.Parallel()
	root, member := peer{uid: 0}, peer{uid: 1000}
	s := newSlots(2, 1)
	take := func(p peer, want bool) func() {
		t.Helper()
		free, err := s.take(p)
		if (err == nil) != want {
			t.Fatalf("uid %d: %v, want it taken: %v", p.uid, err, want)
		}
		return free
	}
	take(member, true)
	free := take(member, true)
	take(member, false)
	freeReserved := take(root, true)
	take(root, false)
	freeReserved()
	take(member, false)
	take(root, true)
	free()
	take(member, true)
	take(root, false)
}

// slowToEncode takes longer to encode than a client may take to read.
type slowToEncode struct{ pause time.Duration }

func (s slowToEncode) MarshalJSON() ([]byte, error) {
	time.Sleep(s.pause)
	return []byte(`"done"`), nil
}

// The time that the client has begins when there is something to read.
func TestEncodingIsNotTheClientsTime(t *testing.T) {
	t.Parallel()
	h := well()
	h.status = func(context.Context) (*Status, error) {
		return &Status{State: StateReady, Tunnels: []any{slowToEncode{300 * time.Millisecond}}}, nil
	}
	r := run(t, h, func(s *Server) { s.limits.write = 100 * time.Millisecond })
	var got Status
	if err := Call(t.Context(), r.path, OpStatus, nil, &got); err != nil || len(got.Tunnels) != 1 {
		t.Errorf("got %v, %+v", err, got.Tunnels)
	}
}
