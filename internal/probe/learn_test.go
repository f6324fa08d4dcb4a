package probe

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// TestLearn wants a name to begin with what was learned of it, one that has addresses to keep them, and what no Set asked for
// to be forgotten.
func TestLearn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var z zone
		old, fresh, bad, other := dbLab(), Name{"new.lab", IPv4}, Name{"bad.lab", IPv4}, Name{"other.lab", IPv4}
		z.set(old, "a", time.Minute)
		n, calls := standInNames(t, &z, "")
		n.Set([]Name{old, bad})
		runNames(t, n)
		synctest.Wait()
		before := calls.Load()
		n.Learn(map[Name]Answer{
			old: {Addrs: addrs("z")}, fresh: {Addrs: addrs("b"), Changed: time.Now()}, bad: {Addrs: addrs("c")}, other: {Addrs: addrs("d")},
		})
		wantAddrs(t, n, old, "a", true)
		wantAddrs(t, n, fresh, "b", true)
		z.set(fresh, "b", time.Minute)
		z.set(bad, "c", time.Minute)
		n.Set([]Name{old, fresh, bad})
		wantAddrs(t, n, old, "a", true)
		wantAddrs(t, n, fresh, "b", true)
		wantAddrs(t, n, bad, "c", true)
		wantAddrs(t, n, other, "", true)
		synctest.Wait()
		if got := calls.Load(); got != before {
			t.Errorf("%d calls for answers that were known", got-before)
		}
	})
}

// TestHere wants an answer that leads to this host not to be followed.
func TestHere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var z zone
		z.set(dbLab(), "ab", time.Second)
		n, _ := standInNames(t, &z, "")
		n.here = func(a netip.Addr) bool { return a == addrs("b")[0] }
		n.Set([]Name{dbLab()})
		runNames(t, n)
		synctest.Wait()
		wantAddrs(t, n, dbLab(), "a", true)
		z.set(dbLab(), "b", time.Second)
		time.Sleep(2 * time.Second)
		wantAddrs(t, n, dbLab(), "a", false)
	})
}

// TestOtherError wants to hear of a name that fails for another reason than before: a person reads it.
func TestOtherError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var z zone
		n, calls := standInNames(t, &z, "")
		n.Set([]Name{dbLab()})
		runNames(t, n)
		synctest.Wait()
		z.put(dbLab(), reply{err: errors.New("it answers REFUSED")})
		time.Sleep(2 * time.Second)
		if got, a := calls.Load(), n.Answer(dbLab()); got != 2 || a.Error != "it answers REFUSED" {
			t.Errorf("%d calls, error %q, want 2 and the last one", got, a.Error)
		}
	})
}

// TestStoreAgain wants what could not be written to be written when it can.
func TestStoreAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	synctest.Test(t, func(t *testing.T) {
		var z zone
		z.set(dbLab(), "a", time.Hour)
		n, _ := standInNames(t, &z, filepath.Join(dir, "names.json"))
		n.Set([]Name{dbLab()})
		runNames(t, n)
		time.Sleep(time.Minute)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(longestSavePause)
		if _, err := os.Stat(filepath.Join(dir, "names.json")); err != nil {
			t.Errorf("the answer is not kept: %v", err)
		}
	})
}
