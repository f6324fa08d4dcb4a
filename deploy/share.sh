#!/bin/sh
# Writes into DIRECTORY what the programs need beside them, the same for all architectures: man pages, shell completions
# and the first configuration. Called by "make share"; VERSION and GO come from there.
#
# A page is Markdown that reads well by itself. Its first line, "# NAME - what it is", becomes the title and the
# section NAME, and text that follows without a heading the section DESCRIPTION.
set -eu
umask 022

directory=$1
version=${VERSION:?is what the pages name}
go=${GO:-go}
date=$(date -u -d "@${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}" +%Y-%m-%d)
unset GOARCH # what runs here is built for here

md2man() { "$go" run github.com/cpuguy83/go-md2man/v2@v2.0.7 -in "$1" -out "$2"; }
natctl() { "$go" run ./cmd/natctl "$@"; }

# page SOURCE SECTION TITLE makes the man page that the first line of the source names.
page() {
	name=$(sed -n '1s/^# \([^ ]*\) - .*/\1/p' "$1")
	[ -n "$name" ] || { echo "$1: the first line must be \"# NAME - what it is\"" >&2; exit 1; }
	{
		printf '# %s %s "%s" "natd %s" "%s"\n\n## NAME\n\n' "$name" "$2" "$date" "$version" "$3"
		sed -e '1s/^# //' -e '3s/^[^#]/## DESCRIPTION\n\n&/' "$1"
	} >"$directory/page.md"
	md2man "$directory/page.md" "$directory/$name.$2"
	gzip -9nf "$directory/$name.$2"
	rm "$directory/page.md"
}

mkdir -p "$directory"

page docs/man/natd.8.md 8 'System administration'
page docs/configure.md 5 'File formats'
"$go" run -tags man ./cmd/natctl >"$directory/commands.md"
sed -e "/^<!-- commands -->\$/{
	r $directory/commands.md
	d
}" docs/man/natctl.1.md >"$directory/natctl.md"
page "$directory/natctl.md" 1 'User commands'
rm "$directory/commands.md" "$directory/natctl.md"

natctl completion bash >"$directory/natctl.bash"
natctl completion zsh >"$directory/_natctl"
natctl completion fish >"$directory/natctl.fish"

# Nobody's relay must run by accident: the example waits, switched off, for real addresses.
sed 's/^enabled  *= true  .*/enabled   = false                # an example: put your addresses above, then true (the default)/' \
	config.example.toml >"$directory/natd.toml"
grep -q '^enabled  *= false ' "$directory/natd.toml" || {
	echo 'config.example.toml: no line "enabled = true" to switch the example off' >&2
	exit 1
}
