//go:build man

package main

import (
	"fmt"
	"os"
	"strings"
)

// main, with the build tag "man", prints what the manual says of commands and flags, as Markdown for docs/man/natctl.1.md.
// It lives beside the commands because nothing can import them, and behind a tag because natctl itself needs no manual.
func main() {
	root := (&app{}).root()
	var b strings.Builder
	b.WriteString("## OPTIONS\n\nEvery command has these, and **--help**.\n\n" + usages(root.PersistentFlags()) + "\n## COMMANDS\n\n")
	for _, cmd := range root.Commands() {
		text := cmd.Long
		if text == "" {
			text = cmd.Short + "."
		}
		text = strings.ReplaceAll(text, "\n  ", "\n    ") // four blanks: to be typed as it stands
		use := strings.TrimSuffix(cmd.UseLine(), " [flags]")
		fmt.Fprintf(&b, "### %s\n\n%s\n\n%s\n", use, text, usages(cmd.LocalNonPersistentFlags()))
	}
	fmt.Fprint(os.Stdout, b.String())
}

// usages is a list of flags, which is indented enough to be taken as it stands.
func usages(flags interface{ FlagUsagesWrapped(columns int) string }) string {
	const columns = 72 // a terminal of 80, less the indentation of a manual page
	return flags.FlagUsagesWrapped(columns)
}
