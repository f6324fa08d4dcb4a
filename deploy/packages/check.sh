#!/bin/sh
# Builds the packages twice, in different places and surroundings, and compares them; then checks what is in them. Called by
# "make packages-check"; VERSION and MAKE come from there. SUITES are the releases of Debian to try them in. Ends with
# non-zero after the first check that fails.
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
deb=natd_${VERSION:?is what the packages are called}_
rpm=natd-$VERSION-1.

fail() { echo "FAIL: $*" >&2; exit 1; }
passed() { echo "ok    $*"; }

# equal WHAT WANT GOT
equal() {
	[ "$2" = "$3" ] || { printf '%s\n' "$2" >"$work/want"; printf '%s\n' "$3" >"$work/got"
		diff -u "$work/want" "$work/got" >&2 || true; fail "$1"; }
	passed "$1"
}

versions() {
	while read -r described want; do
		equal "version of $described" "$want" "$(sh deploy/version.sh "$described")"
	done <<-'EOT'
		1.2.3 1.2.3
		v1.2.3-0-gabcdef1 1.2.3
		v1.2.3-0-gabcdef1-dirty 1.2.3+dirty
		v1.2.3-4-gabcdef1-dirty 1.2.3+git4.abcdef1.dirty
		v1.3.0-rc.1-0-gabcdef1 1.3.0~rc.1
		v0.0.0~git83.abcdef1-dirty 0.0.0~git83.abcdef1+dirty
	EOT
	for bad in main 1/2 '1 2'; do
		sh deploy/version.sh "$bad" >"$work/log" 2>&1 && fail "version $bad is accepted"
	done
	before=
	for version in 0.0.0~git83.abcdef1 1.2.3~rc.1 1.2.3 1.2.3+git4.abcdef1 1.2.4; do # rising
		[ -z "$before" ] || dpkg --compare-versions "$before" lt "$version" || fail "dpkg: $before is not below $version"
		[ -z "$before" ] || [ "$(rpm --eval "%{lua:print(rpm.vercmp('$before', '$version'))}")" = -1 ] ||
			fail "rpm: $before is not below $version"
		before=$version
	done
	passed 'versions sort alike in dpkg and rpm'
}

# reproducible builds once more from a copy of the source.
reproducible() {
	SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
	export SOURCE_DATE_EPOCH
	"$MAKE" -s packages VERSION="$VERSION" DIST="$work/dist" >"$work/log"
	mkdir "$work/copy"
	git ls-files -z --cached --others --exclude-standard | tar --null -T - -c --ignore-failed-read | tar -x -C "$work/copy"
	(cd "$work/copy" && umask 077 && TZ=Asia/Tokyo LC_ALL=C "$MAKE" -s packages VERSION="$VERSION" DIST="$work/again" >"$work/log")
	diff -r "$work/dist" "$work/again" || fail 'two builds differ'
	(cd "$work/dist" && sha256sum --quiet -c SHA256SUMS) || fail 'SHA256SUMS'
	passed 'two builds are the same, byte for byte'
}

# contents has mode, owner and name of the files that matter, as "tar -tv" and rpm write them.
contents() {
	cat <<-'EOT'
		-rw-r----- root natd /etc/natd/natd.toml
		-rw-r--r-- root root /usr/lib/systemd/system/natd.service
		-rw-r--r-- root root /usr/lib/sysusers.d/natd.conf
		-rwxr-xr-x root root /usr/sbin/natctl
		-rwxr-xr-x root root /usr/sbin/natd
		-rw-r--r-- root root /usr/share/bash-completion/completions/natctl
		-rw-r--r-- root root /usr/share/doc/natd/config.example.toml
		-rw-r--r-- root root /usr/share/doc/natd/copyright
		-rw-r--r-- root root /usr/share/doc/natd/docs/images/status-page-healthy.png
		-rw-r--r-- root root /usr/share/doc/natd/docs/status-page.md
		-rw-r--r-- root root /usr/share/fish/vendor_completions.d/natctl.fish
		-rw-r--r-- root root /usr/share/natd/grafana/natd.json
		-rw-r--r-- root root /usr/share/natd/prometheus/natd.rules.yml
		-rw-r--r-- root root /usr/share/natd/prometheus/natd.rules.test.yml
		-rw-r--r-- root root /usr/share/natd/prometheus/prometheus.yml
		-rw-r--r-- root root /usr/share/man/man5/natd.toml.5.gz
		-rw-r--r-- root root /usr/share/man/man1/natctl.1.gz
		-rw-r--r-- root root /usr/share/man/man8/natd.8.gz
	EOT
	echo "-rw-r--r-- root root $1/_natctl"
}

# holds WHAT ZSH-DIRECTORY LIST wants the contents in the list, and nothing that not only root can write or that is set-id.
holds() {
	contents "$2" >"$work/want"
	missing=$(grep -Fxv -f "$3" "$work/want" || true)
	equal "contents of $1" '' "$missing"
	equal "modes in $1" '' "$(grep -Ev '^([-dr][-rwx][-wx][-x][-r]-[-x][-r]-[-x]|d[-rwx]{9}) root (root|natd) ' "$3" || true)"
}

# programs ROOT ARCHITECTURE MACHINE: e_machine of elf(5), EM_X86_64 is 0x3e and EM_AARCH64 0xb7.
programs() {
	for program in natd natctl; do
		equal "$program is for $2" "$3" "$(od -An -j18 -N1 -tx1 "$1/usr/sbin/$program" | tr -d ' ')"
	done
}

checkDeb() {
	file=$work/dist/$deb$1.deb root=$work/deb-$1
	dpkg-deb -c "$file" | awk '{ sub("/", " ", $2); sub("^[.]", "", $6); sub("^0 0$", "root root", $2); print $1, $2, $6 }' >"$work/list"
	holds "$deb$1.deb" /usr/share/zsh/vendor-completions "$work/list"
	equal 'conffiles' /etc/natd/natd.toml "$(dpkg-deb -I "$file" conffiles)"
	equal 'fields' "natd $VERSION $1" "$(dpkg-deb -f "$file" Package Version Architecture | sed 's/.*: //' | paste -sd ' ')"
	dpkg-deb -x "$file" "$root"
	programs "$root" "$1" "$2"
	lintian --allow-root --fail-on error,warning,info --display-info --suppress-tags initial-upload-closes-no-bugs "$file" ||
		fail "lintian $deb$1.deb"
	passed "lintian $deb$1.deb"
}

checkRPM() {
	file=$work/dist/$rpm$1.rpm
	rpm -qp --qf '[%{FILEMODES:perms} %{FILEUSERNAME} %{FILEGROUPNAME} %{FILENAMES}\n]' "$file" >"$work/list"
	holds "$rpm$1.rpm" /usr/share/zsh/site-functions "$work/list"
	equal 'configuration' "/etc/natd/natd.toml cn" \
		"$(rpm -qp --qf '[%{FILENAMES} %{FILEFLAGS:fflags}\n]' "$file" | grep ' .*c')"
	equal 'tags' "natd $VERSION $1" "$(rpm -qp --qf '%{NAME} %{VERSION} %{ARCH}' "$file")"
	equal 'requires' systemd "$(rpm -qp --requires "$file" | grep -v '^rpmlib')"
	rpm -Kv --nosignature "$file" >"$work/log" || { cat "$work/log"; fail 'digests'; }
	passed "digests of $rpm$1.rpm"
}

# manual ROOT: pages without a warning, and every option of natd in its page.
manual() {
	for page in man8/natd.8 man1/natctl.1 man5/natd.toml.5; do
		warnings=$({ man --warnings -E UTF-8 -l "$1/usr/share/man/$page.gz" >"$work/log"; } 2>&1)
		equal "man --warnings $page" '' "$warnings"
		file=$work/page.${page##*.} # mandoc looks at the ending
		gunzip -c "$1/usr/share/man/$page.gz" >"$file"
		mandoc -Tlint -W warning "$file" || fail "mandoc -Tlint $page"
	done
	"$1/usr/sbin/natd" --help 2>&1 | sed -n 's/^  -\([a-z]*\).*/--\1/p' >"$work/options"
	gunzip -c "$1/usr/share/man/man8/natd.8.gz" | sed 's/\\-/-/g' >"$work/page"
	while read -r option; do
		grep -Fq -- "$option" "$work/page" || fail "natd(8) says nothing of $option"
	done <"$work/options"
	[ -s "$work/options" ] || fail 'natd --help names no options'
	passed 'natd(8) has all options'
}

# installed ROOT runs what is in the package of this machine.
installed() {
	equal 'natd --version' "natd $VERSION" "$("$1/usr/sbin/natd" --version)"
	"$1/usr/sbin/natctl" check "$1/etc/natd/natd.toml" >"$work/log" || fail 'the first configuration is invalid'
	"$1/usr/sbin/natctl" rules "$1/etc/natd/natd.toml" >"$work/log" || fail 'there is no ruleset for the first configuration'
	equal 'what the first configuration relays' '' "$(grep -F 10.3.0.100 "$work/log" || true)"
	jq -r '.components[].name' "$work/dist/"*.cdx.json | sort -u >"$work/modules"
	[ -s "$work/modules" ] || fail 'the bill of materials is empty'
	while read -r module; do
		grep -Eq "^Files:.* ${module%/v[0-9]*}( |\$)" "$1/usr/share/doc/natd/copyright" || fail "copyright does not name $module"
	done <"$work/modules"
	passed 'copyright has all modules of the bill of materials'
}

# lived SUITE takes the packages of this machine through their life in a throw-away Debian.
lived() {
	arch=$(dpkg --print-architecture) machine=$(uname -m) new=$VERSION+next
	[ -d "$work/next" ] || "$MAKE" -s packages VERSION="$new" DIST="$work/next" >"$work/log"
	sh deploy/packages/chroot.sh "$1" "$work/dist/$deb$arch.deb" "$work/next/natd_${new}_$arch.deb" \
		"$work/dist/$rpm$machine.rpm" "$work/next/natd-$new-1.$machine.rpm"
}

shellcheck deploy/*.sh deploy/packages/*.sh
passed shellcheck
versions
reproducible
checkDeb amd64 3e
checkDeb arm64 b7
checkRPM x86_64
checkRPM aarch64
own=$work/deb-$(dpkg --print-architecture)
manual "$own"
installed "$own"
for suite in ${SUITES-bullseye bookworm}; do lived "$suite"; done
