#!/bin/sh
# Prints the version of this source, or checks and normalises the one given: a single text that is valid for dpkg
# (deb-version(7)), for rpm (rpm-version(7)) and in a file name, and sorts alike in both, "~" before everything:
#
#   tag v1.2.3                      1.2.3
#   tag v1.3.0-rc.1                 1.3.0~rc.1
#   4 commits after v1.2.3          1.2.3+git4.4caca58
#   no tag in 83 commits            0.0.0~git83.4caca58
#   uncommitted changes             ...+dirty, or .dirty after a "+"
#   no git, no tag                  0.0.0~dev
set -eu

# describe prints what git knows of the source, as "git describe --long" does.
describe() {
	git describe --tags --long --dirty --match 'v[0-9]*' 2>/dev/null && return
	count=$(git rev-list --count HEAD 2>/dev/null) || { echo v0.0.0-dev; return; }
	echo "v0.0.0~git$count.$(git describe --always --dirty --exclude '*')"
}

version=${1:-$(cd "$(dirname "$0")" && describe)}
version=$(printf '%s\n' "$version" | sed -E '
	s/^v//
	s/-dirty$/+dirty/
	s/-0-g[0-9a-f]+(\+dirty)?$/\1/
	s/-([0-9]+)-g([0-9a-f]+)/+git\1.\2/
	s/(\+.*)\+dirty$/\1.dirty/
	s/^([0-9.]+)-/\1~/
	s/-/./g')
if ! printf '%s\n' "$version" | grep -Eqx '[0-9][A-Za-z0-9.+~]*'; then
	echo "VERSION=$version: must begin with a digit and have no others than A-Z a-z 0-9 . + ~" >&2
	exit 1
fi
echo "$version"
