package page

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"time"

	"natd/internal/control"
)

//go:embed assets
var assets embed.FS

// patience is how long natd may take for an answer: with 100,000 relays under load it takes some seconds.
const patience = 10 * time.Second

// New makes the handler of the page. It asks source for each status, at most once a second however many look, and never twice
// at the same time. The source must not change a status that it has returned.
func New(source func(context.Context) (*control.Status, error)) http.Handler {
	style, script := asset("page.css"), asset("page.js")
	return &handler{
		asker:  newAsker(source),
		pages:  template.Must(template.ParseFS(assets, "assets/*.html")),
		style:  template.CSS(style), //nolint:gosec // it is ours, and the policy has the hash of just this text
		script: template.JS(script), //nolint:gosec // likewise
		policy: fmt.Sprintf("default-src 'none'; style-src %s; script-src %s; connect-src 'self'; img-src data:; "+
			"base-uri 'none'; form-action 'self'; frame-ancestors 'none'", hash(style), hash(script)),
	}
}

// asset is a file of the program itself: without it nothing of it works.
func asset(name string) string {
	text, err := assets.ReadFile("assets/" + name)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// hash is the source expression that allows an inline style or script (CSP Level 3, 2.3.1).
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

type handler struct {
	asker  *asker
	pages  *template.Template
	style  template.CSS
	script template.JS
	policy string
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.protect(w.Header())
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "this page can only be read: GET or HEAD", http.StatusMethodNotAllowed)
	case r.URL.Path == "/":
		h.page(w, r)
	case r.URL.Path == "/status.json":
		h.document(w, r)
	default:
		http.Error(w, "there is no such page; the status is at /", http.StatusNotFound)
	}
}

// protect keeps answers out of caches and frames, and other sites from reading them.
func (h *handler) protect(header http.Header) {
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Security-Policy", h.policy)
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY") // for browsers that do not know frame-ancestors
}

// sheet is what the templates get.
type sheet struct {
	Style  template.CSS
	Script template.JS
	Choice choice
	View   *view
	Silent *silence
}

// page writes the page or, for its script, the part of it that changes.
func (h *handler) page(w http.ResponseWriter, r *http.Request) {
	s := sheet{Style: h.style, Script: h.script, Choice: choiceOf(r.URL.Query())}
	name, code := "page.html", http.StatusOK
	if s.Choice.part {
		name = "main.html"
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	answer, err := h.asker.ask(ctx)
	if err != nil {
		code = http.StatusServiceUnavailable
		s.Silent = h.asker.silence(err)
	} else {
		s.View = newView(answer, s.Choice)
	}
	// Whole or not at all: half a page would look like a natd with fewer relays.
	var b bytes.Buffer
	if err := h.pages.ExecuteTemplate(&b, name, &s); err != nil {
		http.Error(w, "write the page: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write(b.Bytes()) // a reader who has gone away is no error
}

// document writes the status as "natctl status --json" does.
func (h *handler) document(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	w.Header().Set("Content-Type", "application/json")
	answer, err := h.asker.ask(ctx)
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		out := json.NewEncoder(w)
		out.SetIndent("", "  ")
		_ = out.Encode(map[string]any{"schema_version": control.SchemaVersion, "error": err.Error()}) // a reader who has gone away is no error
		return
	}
	_ = answer.status.WriteJSON(w, "  ") // likewise
	_, _ = io.WriteString(w, "\n")
}
