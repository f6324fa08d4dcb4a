package control

import (
	"encoding/json"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// someGroup is a group that every Linux has and that the tests' users are not in.
func someGroup(t *testing.T) (name string, gid int) {
	t.Helper()
	for _, name := range []string{"daemon", "users", "mail"} {
		if g, err := user.LookupGroup(name); err == nil {
			gid, err := strconv.Atoi(g.Gid)
			if err != nil {
				t.Fatal(err)
			}
			return name, gid
		}
	}
	t.Fatal("none of the usual groups exists")
	return "", 0
}

// passable is a directory that every user can pass through; those of t.TempDir are private.
func passable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "natd-control-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestRightsOfRealUsers(t *testing.T) {
	t.Parallel()
	needRoot(t)
	const nobody = 65534
	group, gid := someGroup(t)
	r := runAt(t, filepath.Join(passable(t), "natd.sock"), group, well(), nil)

	many := make([]int, 100) // more than a first look at the groups holds
	for i := range many {
		many[i] = 70000 + i
	}
	tests := map[string]struct {
		who  client
		want map[string]string // by operation
	}{
		"root":                {client{}, map[string]string{OpStatus: "0 ", OpReload: "0 ", OpFlush: "0 "}},
		"stranger":            {client{UID: nobody, GID: nobody}, map[string]string{OpStatus: "7 not permitted to ask natd", OpReload: "7 "}},
		"primary group":       {client{UID: nobody, GID: gid}, map[string]string{OpStatus: "0 ", OpConnections: "0 ", OpPlan: "7 not permitted: user 65534 may not plan; only root may", OpReload: "7 not permitted: user 65534 may not reload; only root may", OpDrain: "7 not permitted: user 65534 may not drain", OpEnable: "7 not permitted: user 65534 may not enable"}},
		"supplementary group": {client{UID: nobody, GID: nobody, Groups: []int{gid}}, map[string]string{OpStatus: "0 ", OpFlush: "7 not permitted: user 65534 may not flush"}},
		"one of many groups":  {client{UID: nobody, GID: nobody, Groups: append(slices.Clone(many), gid)}, map[string]string{OpStatus: "0 ", OpFlush: "7 "}},
		"group root":          {client{UID: nobody, GID: 0, Groups: []int{gid}}, map[string]string{OpStatus: "0 ", OpReload: "7 "}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for op, want := range test.want {
				test.who.Path, test.who.Op = r.path, op
				if got := test.who.run(t); !strings.HasPrefix(got, want) {
					t.Errorf("%s: got %q, want %q...", op, got, want)
				}
			}
		})
	}
}

// Whoever gets past the mode of the socket is still asked who he is, before a byte of his is read.
func TestStrangerPastTheMode(t *testing.T) {
	t.Parallel()
	needRoot(t)
	group, gid := someGroup(t)
	tests := map[string]struct{ group, who string }{
		"with a group":    {group, "root and the members of group " + group + " may"},
		"without a group": {"", "only root may"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := runAt(t, filepath.Join(passable(t), "natd.sock"), test.group, fake{}, nil)
			if err := os.Chmod(r.path, 0o666); err != nil {
				t.Fatal(err)
			}
			c := client{Path: r.path, Op: OpStatus, UID: 65533, GID: 65533, Groups: []int{gid + 70000}}
			wantContains(t, c.run(t), "7 not permitted: user 65533 may not ask natd; "+test.who)
		})
	}
}

func TestAuditLog(t *testing.T) {
	t.Parallel()
	needRoot(t)
	group, gid := someGroup(t)
	r := runAt(t, filepath.Join(passable(t), "natd.sock"), group, well(), nil)

	client{Path: r.path, Op: OpStatus}.run(t)
	if got := r.log.String(); got != "" {
		t.Errorf("a question was logged: %s", got)
	}
	client{Path: r.path, Op: OpReload}.run(t)
	client{Path: r.path, Op: OpFlush, UID: 65534, GID: gid}.run(t)
	client{Path: r.path, Op: OpDrain, Args: []byte(`{"relay":"web","backend":"10.3.0.1"}`)}.run(t)
	long, err := json.Marshal(BackendArgs{Relay: strings.Repeat("x", 5000)})
	if err != nil {
		t.Fatal(err)
	}
	client{Path: r.path, Op: OpEnable, Args: long, UID: 65534, GID: gid}.run(t)
	lines := strings.Split(strings.TrimSpace(r.log.String()), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines, want 4:\n%s", len(lines), r.log)
	}
	wantContains(t, lines[0], "level=INFO", "change made", "op=reload", "peer.uid=0", "peer.gid=0", "peer.pid=")
	wantContains(t, lines[1], "level=WARN", "refused", "op=flush", "peer.uid=65534", "peer.gid="+strconv.Itoa(gid), "only root may")
	wantContains(t, lines[2], "change made", "op=drain", `args="{\"relay\":\"web\",\"backend\":\"10.3.0.1\"}"`, "peer.uid=0")
	wantContains(t, lines[3], "refused", "op=enable", "args=", "peer.uid=65534")
	if len(lines[3]) > 1000 {
		t.Errorf("a stranger's line has %d characters", len(lines[3]))
	}
}

func TestAccess(t *testing.T) {
	t.Parallel()
	const own, gid = 990, 991
	withGroup := access{uid: own, group: "natd", gid: gid}
	noGroup := access{uid: own, gid: -1}
	tests := map[string]struct {
		who          access
		peer         peer
		read, change bool
	}{
		"root":                         {withGroup, peer{uid: 0, gid: 0}, true, true},
		"root without group":           {noGroup, peer{uid: 0, gid: 0}, true, true},
		"natd itself":                  {withGroup, peer{uid: own, gid: 5}, true, false},
		"member":                       {withGroup, peer{uid: 1000, gid: 1000, groups: []uint32{7, gid}}, true, false},
		"stranger":                     {withGroup, peer{uid: 1000, gid: 1000, groups: []uint32{7}}, false, false},
		"stranger without group":       {noGroup, peer{uid: 1000, gid: 1000}, false, false},
		"gid like the absent group":    {noGroup, peer{uid: 1000, gid: 1<<32 - 1}, false, false},
		"peer of other user namespace": {withGroup, peer{uid: 65534, gid: 65534, groups: []uint32{65534}}, false, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			read := test.who.mayRead(test.peer) == nil
			change := read && mayDo(test.peer, OpFlush) == nil
			if read != test.read || change != test.change {
				t.Errorf("read %v, change %v; want %v, %v", read, change, test.read, test.change)
			}
		})
	}
}
