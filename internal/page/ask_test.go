package page_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"natd/internal/control"
	"natd/internal/page"
)

// TestSilent wants the reason, since when, and no old status as if it were new.
func TestSilent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var failing atomic.Bool
		h := page.New(func(context.Context) (*control.Status, error) {
			if failing.Load() {
				return nil, errors.New("natd hangs <b>")
			}
			return healthy(time.Now()), nil
		})
		text(t, h, "/")
		failing.Store(true)
		time.Sleep(time.Minute)
		first := time.Now().UTC().Format("15:04:05")
		for range 3 {
			for _, target := range []string{"/", "/?part=main"} {
				body := text(t, h, target)
				if !strings.Contains(body, "natd hangs &lt;b&gt;") || !strings.Contains(body, first+" UTC") || strings.Contains(body, "10.2.0.100") {
					t.Errorf("%s: not silent since %s:\n%s", target, first, body)
				}
			}
			time.Sleep(time.Minute)
		}
		for _, target := range []string{"/", "/?part=main", "/status.json"} {
			if r := get(t, h, "GET", target); r.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("%s: %s", target, r.Status)
			}
		}
		failing.Store(false)
		if body := text(t, h, "/"); !strings.Contains(body, "10.2.0.100:80") {
			t.Error("it answers again, and the page does not")
		}
	})
}

// TestAsksOnce wants many readers to cost natd what one costs, and one who waits for a natd that hangs to be told.
func TestAsksOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked, at, most atomic.Int32
		kept := healthy(time.Now())
		h := page.New(func(context.Context) (*control.Status, error) {
			asked.Add(1)
			most.Store(max(most.Load(), at.Add(1)))
			time.Sleep(100 * time.Millisecond)
			at.Add(-1)
			return kept, nil
		})
		for range 50 {
			go text(t, h, "/")
		}
		time.Sleep(900 * time.Millisecond)
		synctest.Wait()
		if asked.Load() != 1 {
			t.Errorf("natd was asked %d times within a second", asked.Load())
		}
		time.Sleep(time.Second)
		text(t, h, "/")
		if asked.Load() != 2 || most.Load() != 1 {
			t.Errorf("natd was asked %d times, up to %d at once", asked.Load(), most.Load())
		}
	})
}

// TestGone wants a reader who goes away not to be taken for a natd that does not answer.
func TestGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := page.New(func(ctx context.Context) (*control.Status, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
		time.Sleep(time.Hour)
		if body := text(t, h, "/"); !strings.Contains(body, time.Now().UTC().Format("15:04:05")) {
			t.Errorf("silent since the reader went away:\n%s", body)
		}
	})
}

func TestHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := page.New(func(ctx context.Context) (*control.Status, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		begin := time.Now()
		for range 5 {
			go func() {
				if r := get(t, h, "GET", "/"); r.StatusCode != http.StatusServiceUnavailable {
					t.Errorf("a natd that hangs: %s", r.Status)
				}
			}()
		}
		synctest.Wait()
		get(t, h, "GET", "/")
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("told after %s", took)
		}
	})
}

// TestRates wants rates between two statuses, and none where they would say something false.
func TestRates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := healthy(time.Now())
		grow := func(connections, bytes uint64) {
			r := web(time.Now())
			r.Connections.Total, r.Bytes.ToTarget = connections, bytes
			next := *s
			next.Relays = []control.Relay{r}
			s = &next
		}
		h := page.New(func(context.Context) (*control.Status, error) { return s, nil })
		rates := func() []string {
			body := text(t, h, "/?part=main")
			_, row, _ := strings.Cut(body, `id="row-web"`)
			row, _, _ = strings.Cut(row, "</tr>")
			var got []string
			for _, label := range []string{"New/s", "Sent/s"} {
				_, cell, _ := strings.Cut(row, `data-label="`+label+`">`)
				cell, _, _ = strings.Cut(cell, "<")
				got = append(got, cell)
			}
			return got
		}
		for _, step := range []struct {
			why                string
			pause              time.Duration
			connections, bytes uint64
			want               []string
			change             func()
		}{
			{"nothing to compare with", 0, 100, 1000, []string{"–", "–"}, nil},
			{"5 in 2 s", 2 * time.Second, 105, 1000 + 3072, []string{"2.5", "1.5 KiB"}, nil},
			{"nothing happens", 2 * time.Second, 105, 1000 + 3072, []string{"0", "0 B"}, nil},
			{"bytes of what ended are gone", 2 * time.Second, 155, 10, []string{"25", "–"}, nil},
			{"nobody looked for an hour", time.Hour, 9999, 99999, []string{"–", "–"}, nil},
			{"another configuration", 2 * time.Second, 99999, 999999, []string{"–", "–"}, func() { s.Config.SHA256 = "other" }},
		} {
			time.Sleep(step.pause)
			grow(step.connections, step.bytes)
			if step.change != nil {
				step.change()
			}
			if diff := cmp.Diff(step.want, rates()); diff != "" {
				t.Errorf("%s: %s", step.why, diff)
			}
		}
	})
}
