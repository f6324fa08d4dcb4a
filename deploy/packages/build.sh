#!/bin/sh
# Builds into DIRECTORY the deb and the rpm of each architecture, the bills of materials and SHA256SUMS, from what
# "make install" installs. The same source gives the same bytes, wherever and whenever it is built: all times are that of the
# last commit (https://reproducible-builds.org/specs/source-date-epoch/). Called by "make packages"; VERSION, GO and MAKE
# come from there. ARCHES and FORMATS may say less than all: "amd64", "deb".
set -eu
umask 022

mkdir -p "$1"
dist=$(cd "$1" && pwd)
nfpm=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2

# An archive without git has no commit: then the changelog's time is as good as any, and does not move.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}
date=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
MAINTAINER=${MAINTAINER:-natd maintainers <natd@localhost>}
GOFLAGS="${GOFLAGS:-} -buildvcs=false" # the version says it, and a clone and an archive must not differ
export GOFLAGS MAINTAINER SOURCE_DATE_EPOCH VERSION

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# package FORMAT ARCHITECTURE ZSH-DIRECTORY FILE
package() {
	STAGE=$work/$1-$2 ARCH=$2
	export STAGE ARCH
	"$MAKE" -s install DESTDIR="$STAGE" PREFIX=/usr ZSH="$3" ARCH="$ARCH" BIN="$work/bin-$ARCH" VERSION="$VERSION"
	# nfpm expands no variables in the names of scripts and changelog: it runs beside them.
	cp deploy/packages/*.sh deploy/packages/nfpm.yaml deploy/packages/lintian-overrides "$STAGE"
	changelog >"$STAGE/changelog.yaml"
	(cd "$STAGE" && "$GO" run "$nfpm" package --packager "$1" --config nfpm.yaml --target "$dist/$4" >/dev/null)
}

# changelog is the packages' own, which points at that of natd, in the form of https://github.com/goreleaser/chglog.
changelog() {
	cat <<-EOT
	- semver: $VERSION
	  date: $date
	  packager: $MAINTAINER
	  deb: {urgency: medium, distributions: [unstable]}
	  changes:
	    - note: What is new stands in /usr/share/doc/natd/CHANGELOG.md.
	EOT
}

for arch in ${ARCHES:-amd64 arm64}; do
	case $arch in amd64) machine=x86_64 ;; arm64) machine=aarch64 ;; esac
	for format in ${FORMATS:-deb rpm}; do
		case $format in
		deb) package deb "$arch" /usr/share/zsh/vendor-completions "natd_${VERSION}_$arch.deb" ;;
		rpm) package rpm "$arch" /usr/share/zsh/site-functions "natd-$VERSION-1.$machine.rpm" ;;
		esac
	done
done

# What is linked into the programs; the modules are the same for all architectures.
for program in natd natctl; do
	"$GO" tool -modfile=deploy/packages/sbom.mod cyclonedx-gomod bin -json -noserial -notimestamp -std \
		-version "v$VERSION" -output "$dist/$program-$VERSION.cdx.json" "$work/bin-$arch/$program" 2>"$work/log" ||
		{ cat "$work/log" >&2; exit 1; }
done

cd "$dist"
find . -maxdepth 1 \( -name "natd_${VERSION}_*.deb" -o -name "natd-$VERSION-1.*.rpm" -o -name "nat*-$VERSION.cdx.json" \) -printf '%P\n' |
	LC_ALL=C sort | xargs sha256sum >SHA256SUMS
cat SHA256SUMS
