//go:build man

package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// main, with the build tag "man", prints what the manual says of commands and flags, as Markdown for docs/man/natctl.8.md.
// It lives beside the commands because nothing can import them, and behind a tag because natctl itself needs no manual.
func main() {
	root := (&app{}).root()
	var b strings.Builder
	b.WriteString("## OPTIONS\n\nEvery command has these.\n\n")
	describeFlags(&b, root.PersistentFlags())
	b.WriteString("**--help**, **-h**\n: explain the command\n\n## COMMANDS\n\n")
	for _, cmd := range root.Commands() {
		describe(&b, cmd)
	}
	fmt.Fprint(os.Stdout, b.String())
}

func describe(b *strings.Builder, cmd *cobra.Command) {
	text := cmd.Long
	if text == "" {
		text = cmd.Short + "."
	}
	fmt.Fprintf(b, "### %s\n\n", strings.TrimSuffix(cmd.UseLine(), " [flags]"))
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "  ") {
			line = "  " + line // four blanks: to be typed as it stands
		}
		b.WriteString(line)
	}
	b.WriteString("\n\n")
	describeFlags(b, cmd.LocalNonPersistentFlags())
}

func describeFlags(b *strings.Builder, flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		value, usage := pflag.UnquoteUsage(f)
		fmt.Fprintf(b, "**--%s**", f.Name)
		if value != "" {
			fmt.Fprintf(b, " *%s*", value)
		}
		fmt.Fprintf(b, "\n: %s", usage)
		if f.DefValue != "" && f.DefValue != "false" {
			fmt.Fprintf(b, "; the default is %s", f.DefValue)
		}
		b.WriteString("\n\n")
	})
}
