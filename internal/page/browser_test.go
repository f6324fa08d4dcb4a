package page_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"natd/internal/lab"
)

// browser is a chromium without a window, spoken to by the DevTools protocol over two pipes
// (https://chromedevtools.github.io/devtools-protocol/): messages of JSON with a zero byte behind each.
type browser struct {
	out     *os.File
	mu      sync.Mutex
	last    int
	waiting map[int]chan reply
	events  map[string][]event // by session
}

type reply struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

type event struct {
	Method string
	Params json.RawMessage
}

// tab is a page of its own, that shares nothing with other tabs.
type tab struct {
	*browser
	t       *testing.T
	session string
}

// openBrowser starts the program for a test, and ends it with the test.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	if testing.Short() {
		t.Skip("this test needs a browser, and -short is set")
	}
	lab.Require(t, "chromium")
	toRead, toWrite, err := os.Pipe()
	lab.Check(t, err)
	fromRead, fromWrite, err := os.Pipe()
	lab.Check(t, err)
	// Not in the directory of the test, and not with its context: processes of the browser write for a moment after they were told
	// to end, and all the longer when they are killed.
	profile, err := os.MkdirTemp("", "natd-browser-")
	lab.Check(t, err)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--disable-breakpad",
		"--remote-debugging-pipe", "--user-data-dir="+profile, "about:blank")
	cmd.ExtraFiles = []*os.File{toRead, fromWrite}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	lab.Check(t, cmd.Start())
	toRead.Close()
	fromWrite.Close()
	b := &browser{out: toWrite, waiting: make(map[int]chan reply), events: make(map[string][]event)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.listen(fromRead)
	}()
	t.Cleanup(func() {
		_, _ = b.call("", "Browser.close", nil) // it ends before it answers, or after
		late := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		late.Stop()
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what is left of its group; most often nothing is
		toWrite.Close()
		<-done
		fromRead.Close()
		lab.Check(t, lab.Await(context.WithoutCancel(t.Context()), 20*time.Second, func() error { return os.RemoveAll(profile) }))
	})
	return b
}

// listen gives answers to those who wait, and keeps events.
func (b *browser) listen(in *os.File) {
	messages := bufio.NewReader(in)
	for {
		line, err := messages.ReadBytes(0)
		b.mu.Lock()
		if err != nil {
			for id, wait := range b.waiting {
				close(wait)
				delete(b.waiting, id)
			}
			b.waiting = nil
			b.mu.Unlock()
			return
		}
		var m struct {
			ID        int
			SessionID string
			event
			reply
		}
		if err := json.Unmarshal(line[:len(line)-1], &m); err == nil && m.ID != 0 {
			if wait := b.waiting[m.ID]; wait != nil {
				wait <- m.reply
				delete(b.waiting, m.ID)
			}
		} else if err == nil {
			b.events[m.SessionID] = append(b.events[m.SessionID], m.event)
		}
		b.mu.Unlock()
	}
}

func (b *browser) call(session, method string, params any) (json.RawMessage, error) {
	b.mu.Lock()
	if b.waiting == nil {
		b.mu.Unlock()
		return nil, fmt.Errorf("%s: the browser has ended", method)
	}
	b.last++
	id, wait := b.last, make(chan reply, 1)
	b.waiting[id] = wait
	b.mu.Unlock()
	message, err := json.Marshal(struct {
		ID        int    `json:"id"`
		Method    string `json:"method"`
		Params    any    `json:"params,omitempty"`
		SessionID string `json:"sessionId,omitempty"`
	}{id, method, params, session})
	if err != nil {
		return nil, err
	}
	if _, err := b.out.Write(append(message, 0)); err != nil {
		return nil, err
	}
	select {
	case r, ok := <-wait:
		switch {
		case !ok:
			return nil, fmt.Errorf("%s: the browser has ended", method)
		case r.Error != nil:
			return nil, fmt.Errorf("%s: %s", method, r.Error.Message)
		}
		return r.Result, nil
	case <-time.After(time.Minute):
		return nil, fmt.Errorf("%s: no answer", method)
	}
}

// with is the parameters of a call.
type with map[string]any

// open makes a tab of that size, in the light or the dark.
func (b *browser) open(t *testing.T, width, height int, scheme string) *tab {
	t.Helper()
	find := func(method, key string, params with) string {
		out, err := b.call("", method, params)
		lab.Check(t, err)
		var found map[string]string
		lab.Check(t, json.Unmarshal(out, &found))
		return found[key]
	}
	target := find("Target.createTarget", "targetId", with{"url": "about:blank"})
	p := &tab{b, t, find("Target.attachToTarget", "sessionId", with{"targetId": target, "flatten": true})}
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		p.do(domain+".enable", nil)
	}
	p.do("Emulation.setDeviceMetricsOverride", with{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})
	p.do("Emulation.setEmulatedMedia", with{"features": []with{{"name": "prefers-color-scheme", "value": scheme}}})
	return p
}

func (p *tab) do(method string, params with) json.RawMessage {
	p.t.Helper()
	out, err := p.call(p.session, method, params)
	lab.Check(p.t, err)
	return out
}

// visit loads a page and waits until it is there.
func (p *tab) visit(address string) {
	p.t.Helper()
	p.do("Page.navigate", with{"url": address})
	p.until("document.readyState === 'complete' && location.href !== 'about:blank'")
}

// eval is the value of an expression of JavaScript, as text.
func (p *tab) eval(expression string) string {
	p.t.Helper()
	var out struct {
		Result           struct{ Value any }
		ExceptionDetails any
	}
	lab.Check(p.t, json.Unmarshal(p.do("Runtime.evaluate", with{"expression": expression, "returnByValue": true, "awaitPromise": true}), &out))
	if out.ExceptionDetails != nil {
		p.t.Fatalf("%s: %v", expression, out.ExceptionDetails)
	}
	return fmt.Sprint(out.Result.Value)
}

// until waits until the expression is true.
func (p *tab) until(expression string) {
	p.t.Helper()
	lab.Eventually(p.t, 20*time.Second, func() error {
		if got := p.eval(expression); got != "true" {
			return fmt.Errorf("%s is %s; the page says:\n%s", expression, got, p.eval("document.body ? document.body.innerText : ''"))
		}
		return nil
	})
}

// click clicks on the first element that the selector finds.
func (p *tab) click(selector string) {
	p.t.Helper()
	p.eval(fmt.Sprintf("document.querySelector(%q).click()", selector))
}

// picture is all of the page as PNG.
func (p *tab) picture() []byte {
	p.t.Helper()
	var out struct{ Data []byte }
	lab.Check(p.t, json.Unmarshal(p.do("Page.captureScreenshot", with{"format": "png", "captureBeyondViewport": true}), &out))
	return out.Data
}

// complaints is what went to the console and to the log of the browser, violations of the policy among it.
func (p *tab) complaints() (all []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.events[p.session] {
		switch e.Method {
		case "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded":
			all = append(all, e.Method+" "+string(e.Params))
		}
	}
	return all
}

// requests is the addresses that the tab has asked for.
func (p *tab) requests() (all []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.events[p.session] {
		var sent struct{ Request struct{ URL string } }
		if e.Method == "Network.requestWillBeSent" && json.Unmarshal(e.Params, &sent) == nil && !strings.HasPrefix(sent.Request.URL, "data:") {
			all = append(all, sent.Request.URL)
		}
	}
	return all
}

// close closes the tab.
func (p *tab) close() {
	p.t.Helper()
	p.do("Page.close", nil)
}
