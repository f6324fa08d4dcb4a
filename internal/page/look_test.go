package page_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"image"
	"image/color"
	"image/png"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"natd/internal/control"
	"natd/internal/lab"
	"natd/internal/page"
)

// scene is a status as the browser gets it, and the words that must be seen then.
type scene struct {
	make  func(time.Time) *control.Status
	words []string
}

func scenes() map[string]scene {
	return map[string]scene{
		"healthy": {healthy, []string{"✓ ready", "in sync", "10.3.0.100:80", "private-subnets", "overlap-c"}},
		"backend-down": {backendDown, []string{
			"! degraded", "2/3 up", "✕ down", "connection refused", "It breaks between this host and 10.3.0.101:80.", "12 over max_per_source",
		}},
		"all-down":        {everyBackendDown, []string{"✕ down", "0/3 up", "no answer within 1s"}},
		"drained":         {drained, []string{"! draining", "natctl enable web", "New connections end at this host"}},
		"address-missing": {addressMissing, []string{"is on no interface", "It breaks on this host."}},
		"port-taken":      {withheld, []string{"belongs to a local service", "It breaks on this host."}},
		"no-route":        {noRoute, []string{"cannot be reached", "It breaks between this host and 10.3.0.100:80."}},
		"not-in-sync":     {notInSync, []string{"✕ failed", "not in sync", "keeps changing natd's table", "It breaks on this host."}},
		"forward-off":     {forwardOff, []string{"✕ off", "forbids natd to turn it on", "It breaks on this host."}},
		"refused":         {onEC2, []string{"The last reload was refused", "port 70000", "i-0123456789abcdef0"}},
		"disk-full":       {diskFull, []string{"✕ /var/log/natd/flow.log", "512 dropped", "no space left on device", "dropped events 3 times"}},
		"thirty":          {func(now time.Time) *control.Status { return many(now, 30) }, []string{"1 degraded, 29 ready", "service-00029"}},
	}
}

// alive is a natd whose connections go on, and that can fall silent.
type alive struct {
	make   func(time.Time) *control.Status
	begin  time.Time
	silent atomic.Bool
}

func (a *alive) status(context.Context) (*control.Status, error) {
	if a.silent.Load() {
		return nil, errors.New("natd took the question but does not answer")
	}
	s := a.make(a.begin)
	for i := range s.Relays {
		passed := uint64(time.Since(a.begin).Milliseconds())
		c, v := &s.Relays[i].Connections, &s.Relays[i].Bytes
		c.Total, v.ToTarget, v.ToClient = c.Total+passed/400, v.ToTarget+passed*3, v.ToClient+passed*41
	}
	return s, nil
}

// serve serves the page of a natd for a test. Everything else that is asked for there fails the test.
func serve(t *testing.T, make func(time.Time) *control.Status) (address string, a *alive) {
	t.Helper()
	a = &alive{make: make, begin: time.Now()}
	server := httptest.NewServer(page.New(a.status))
	t.Cleanup(server.Close)
	return server.URL, a
}

// TestLooks shows every scene to a real browser, wide and dark, and as narrow as the narrowest phones are.
func TestLooks(t *testing.T) {
	t.Parallel()
	b := openBrowser(t)
	for name, s := range scenes() {
		t.Run(name, func(t *testing.T) {
			address, _ := serve(t, s.make)
			for _, screen := range []struct {
				width  int
				scheme string
			}{{1180, "light"}, {320, "dark"}} {
				p := b.open(t, screen.width, 800, screen.scheme)
				p.visit(address)
				look(p, address, screen.width, s.words)
				if screen.width == 1180 && updating() {
					p.do("Emulation.setDeviceMetricsOverride", with{"width": 1180, "height": 300, "deviceScaleFactor": 1, "mobile": false})
					p.visit(address + "/?open=web") // others have a row
					p.until(`document.querySelector('td[data-label="New/s"]').textContent !== '–'`)
					p.save(name)
				}
				p.close()
			}
		})
	}
}

// look checks what the browser made of the page.
func look(p *tab, address string, width int, words []string) {
	p.t.Helper()
	if got := p.eval("document.documentElement.scrollWidth <= " + p.eval("innerWidth")); got != "true" {
		p.t.Errorf("%d pixels wide: the page has to be scrolled sideways", width)
	}
	// Nothing sticks out of the box that it stands in, text of pictures included.
	if got := p.eval(`[...document.querySelectorAll("section > table")].flatMap(box => [...box.querySelectorAll("td, th, .way text")]
		.filter(e => e.checkVisibility() && e.getBoundingClientRect().width > 1 && e.getBoundingClientRect().right > box.getBoundingClientRect().right + 1)
		.map(e => e.textContent)).join(" | ")`); got != "" {
		p.t.Errorf("%d pixels wide: this sticks out: %s", width, got)
	}
	if got := p.eval(`[...document.querySelectorAll(".way g.box")].filter(g => g.checkVisibility()).flatMap(g => [...g.querySelectorAll("text")]
		.filter(e => e.getBoundingClientRect().right > g.querySelector("rect").getBoundingClientRect().right)
		.map(e => e.textContent)).join(" | ")`); got != "" {
		p.t.Errorf("%d pixels wide: this is longer than its box: %s", width, got)
	}
	if got := p.eval(`[...document.querySelectorAll(".way")].filter(e => e.checkVisibility()).length`); got == "0" {
		p.t.Error("no picture is shown")
	}
	said := p.eval("document.body.innerText")
	for _, word := range words {
		if !strings.Contains(said, word) {
			p.t.Errorf("%d pixels wide: %q is not to be seen in:\n%s", width, word, said)
		}
	}
	for _, complaint := range p.complaints() {
		p.t.Errorf("the browser complains: %s", complaint)
	}
	for _, asked := range p.requests() {
		if !strings.HasPrefix(asked, address+"/") {
			p.t.Errorf("the page asks for %s", asked)
		}
	}
}

// TestRefresh reads a page for a while: it keeps what is open, the focus and the place, and says so when natd falls silent.
func TestRefresh(t *testing.T) {
	t.Parallel()
	p := openBrowser(t).open(t, 1180, 500, "light")
	address, natd := serve(t, func(now time.Time) *control.Status { return many(now, 200) })
	p.visit(address + "/")
	p.click("#toggle-service-00005")
	p.until(`document.querySelector("#toggle-service-00005").ariaExpanded === "true"`)
	p.eval(`document.querySelector("#toggle-service-00009").focus(); scrollTo(0, 333); document.querySelector("#main section").gone = true; ""`)
	p.until(`document.querySelector("#main section").gone !== true`)
	if got := p.eval(`[document.activeElement.id, Math.round(scrollY), location.search.includes("service-00005")].join(" ")`); got != "toggle-service-00009 333 true" {
		t.Errorf("after a refresh: %s", got)
	}
	if got := p.eval(`document.querySelector("td[data-label='New/s']").textContent`); got == "–" {
		t.Error("after two statuses there is no rate")
	}

	p.eval(`document.forms[0].q.value = "service-00033"; document.forms[0].q.dispatchEvent(new Event("input")); ""`)
	p.until(`document.querySelectorAll("#main tbody th a").length === 1 && location.search.includes("q=service-00033")`)

	natd.silent.Store(true)
	p.until(`!document.getElementById("silent").hidden`)
	said := p.eval(`document.getElementById("silent").textContent + document.title`)
	if !strings.Contains(said, "does not answer since") || !strings.Contains(said, "took the question") || !strings.Contains(said, "was read at") ||
		!strings.HasSuffix(said, "no answer · natd") {
		t.Errorf("natd is silent, and the page says: %s", said)
	}
	natd.silent.Store(false)
	p.until(`document.getElementById("silent").hidden && document.title === "degraded · natd"`)
}

// TestWithoutScript wants the page to be whole without JavaScript, and to load itself again.
func TestWithoutScript(t *testing.T) {
	t.Parallel()
	p := openBrowser(t).open(t, 1180, 800, "light")
	p.do("Emulation.setScriptExecutionDisabled", with{"value": true})
	var asked atomic.Int32
	h := page.New(source(backendDown))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			asked.Add(1)
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	p.do("Page.navigate", with{"url": server.URL})
	lab.Eventually(t, 20*time.Second, func() error {
		if asked.Load() < 2 {
			return errors.New("the page does not load itself again")
		}
		return nil
	})
	p.until(`document.body !== null && document.body.innerText.includes("2/3 up")`)
}

// save keeps a picture for the documentation. Those that the docs do not show are for whoever changes the page.
func (p *tab) save(name string) {
	p.t.Helper()
	path := filepath.Join("..", "..", "docs", "images", "status-page-"+name+".png")
	if _, shown := map[string]bool{"healthy": true, "backend-down": true, "address-missing": true, "not-in-sync": true}[name]; !shown {
		path = filepath.Join(os.TempDir(), "status-page-"+name+".png")
	}
	drawn, err := png.Decode(bytes.NewReader(p.picture()))
	lab.Check(p.t, err)
	var small bytes.Buffer
	lab.Check(p.t, (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, indexed(drawn)))
	lab.Check(p.t, os.WriteFile(path, small.Bytes(), 0o644))
}

// indexed is the picture in its 256 most frequent colours, which makes it small: all others are at the edges of letters, where
// the nearest does.
func indexed(from image.Image) image.Image {
	box := from.Bounds()
	counts := make(map[color.Color]int)
	for y := box.Min.Y; y < box.Max.Y; y++ {
		for x := box.Min.X; x < box.Max.X; x++ {
			counts[from.At(x, y)]++
		}
	}
	palette := slices.SortedFunc(maps.Keys(counts), func(a, b color.Color) int { return cmp.Compare(counts[b], counts[a]) })
	to := image.NewPaletted(box, palette[:min(len(palette), 256)])
	nearest := make(map[color.Color]uint8)
	for y := box.Min.Y; y < box.Max.Y; y++ {
		for x := box.Min.X; x < box.Max.X; x++ {
			c := from.At(x, y)
			i, known := nearest[c]
			if !known {
				i = uint8(to.Palette.Index(c))
				nearest[c] = i
			}
			to.SetColorIndex(x, y, i)
		}
	}
	return to
}
