package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"natd/internal/control"
)

// operate is docs/operate.md with all white space made one blank, so that line breaks do not matter.
func operate(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("operate.md")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(text)), " ")
}

// speakers are the functions whose first text a person reads: messages of the log from info up, and reasons of relays and of
// the host.
func speakers() map[string]bool {
	return map[string]bool{"Info": true, "Warn": true, "Error": true, "hold": true, "ail": true, "notef": true, "problemf": true}
}

// TestMessages wants everything that natd says by itself to be explained.
func TestMessages(t *testing.T) {
	t.Parallel()
	manual, found := operate(t), 0
	for _, dir := range []string{"../internal/daemon", "../internal/control", "../internal/flow", "../internal/probe", "../systemd", "../netconf", "../nat", "../cmd/natd"} {
		for _, said := range messages(t, dir) {
			found++
			for _, part := range parts(said.text) {
				if !strings.Contains(manual, part) {
					t.Errorf("%s: %q: operate.md does not have %q", said.at, said.text, part)
				}
			}
		}
	}
	if found < 40 {
		t.Errorf("%d messages are fewer than there are: are they found?", found)
	}
}

// parts is what stays the same of a format, without parts that are too short to tell.
func parts(format string) (fixed []string) {
	for _, part := range regexp.MustCompile(`%[a-z]`).Split(format, -1) {
		if part = strings.Trim(part, " :"); len(part) > 3 {
			fixed = append(fixed, part)
		}
	}
	return fixed
}

type message struct{ at, text string }

// messages collects the first arguments of the speakers in a package.
func messages(t *testing.T, dir string) (all []message) {
	t.Helper()
	files := token.NewFileSet()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && len(call.Args) > 0 && speaks(call) {
				if text, ok := literal(call.Args[0]); ok {
					all = append(all, message{files.Position(call.Pos()).String(), text})
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func speaks(call *ast.CallExpr) bool {
	method, ok := call.Fun.(*ast.SelectorExpr)
	return ok && speakers()[method.Sel.Name]
}

// literal is the value of a text, or of several with plus signs between them.
func literal(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return text, err == nil && e.Kind == token.STRING
	case *ast.BinaryExpr:
		left, ok := literal(e.X)
		right, also := literal(e.Y)
		return left + right, ok && also
	}
	return "", false
}

// TestStatusFields wants every field of "natctl status --json" in the table.
func TestStatusFields(t *testing.T) {
	t.Parallel()
	manual := operate(t)
	for _, field := range fields(reflect.TypeFor[control.Status](), "") {
		if !strings.Contains(manual, "`"+field+"`") {
			t.Errorf("operate.md does not have the field `%s`", field)
		}
	}
}

// fields is the paths of a document, as jq writes them.
func fields(typ reflect.Type, path string) (all []string) {
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if typ.Kind() == reflect.Slice && typ.Elem().Kind() == reflect.Struct {
		typ, path = typ.Elem(), path+"[]"
	}
	if typ.Kind() != reflect.Struct || typ == reflect.TypeFor[time.Time]() {
		return []string{path}
	}
	for field := range typ.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		all = append(all, fields(field.Type, strings.TrimPrefix(path+"."+name, "."))...)
	}
	return all
}
