package docs_test

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// page is a file of Markdown as far as links are concerned.
type page struct {
	anchors map[string]bool
	links   []string
}

// pages is what a reader may be sent to.
func pages(t *testing.T) []string {
	t.Helper()
	paths := []string{"../README.md", "../CHANGELOG.md"}
	for _, pattern := range []string{"*.md", "man/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, found...)
	}
	return paths
}

// readPage finds headings and links, and passes over code.
func readPage(t *testing.T, path string) page {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p := page{anchors: make(map[string]bool)}
	link, code := regexp.MustCompile(`\]\(([^)\s]+)\)`), regexp.MustCompile("`[^`\n]*`")
	var prose strings.Builder
	fenced := false
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		if fenced || strings.HasPrefix(line, "    ") {
			continue
		}
		if heading := strings.TrimLeft(line, "#"); heading != line {
			p.add(anchor(heading))
		}
		prose.WriteString(line)
	}
	for _, found := range link.FindAllStringSubmatch(code.ReplaceAllString(prose.String(), ""), -1) {
		p.links = append(p.links, found[1])
	}
	return p
}

// add refuses a heading that comes twice: its second anchor would have a number, which changes with the page.
func (p *page) add(name string) {
	if p.anchors[name] {
		delete(p.anchors, name)
		name += " comes twice"
	}
	p.anchors[name] = true
}

// anchor is what GitHub makes of a heading: lower case, hyphens for blanks, no punctuation.
func anchor(heading string) string {
	text := strings.ToLower(strings.TrimSpace(heading))
	text = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(text, "")
	return strings.ReplaceAll(text, " ", "-")
}

// TestLinks follows every link from page to page, and to files of the project.
func TestLinks(t *testing.T) {
	t.Parallel()
	followed := 0
	for _, path := range pages(t) {
		for _, link := range readPage(t, path).links {
			to, err := url.Parse(link)
			if err != nil {
				t.Errorf("%s: link %s: %v", path, link, err)
				continue
			}
			if to.Scheme != "" {
				continue // the world outside changes without us
			}
			followed++
			follow(t, path, to)
		}
	}
	if followed < 50 {
		t.Errorf("%d links are fewer than there are: are they found?", followed)
	}
}

// follow wants the target of a link to be there.
func follow(t *testing.T, path string, to *url.URL) {
	t.Helper()
	target := path
	if to.Path != "" {
		target = filepath.Join(filepath.Dir(path), to.Path)
	}
	if _, err := os.Stat(target); err != nil {
		t.Errorf("%s: link %s: %v", path, to, err)
		return
	}
	if to.Fragment != "" && !readPage(t, target).anchors[to.Fragment] {
		t.Errorf("%s: link %s: there is no such heading, or there are two", path, to)
	}
}

// TestIndex wants every page to stand in the index.
func TestIndex(t *testing.T) {
	t.Parallel()
	listed := make(map[string]bool)
	for _, link := range readPage(t, "README.md").links {
		listed[link] = true
	}
	for _, path := range pages(t) {
		if !listed[path] && path != "README.md" {
			t.Errorf("docs/README.md does not list %s", path)
		}
	}
}
