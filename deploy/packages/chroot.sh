#!/bin/sh
# Installs, upgrades, removes and purges the packages in a throw-away Debian of SUITE, without systemd running, and then with a
# systemctl that only writes down what it is told. Called by check.sh: chroot.sh SUITE OLD.deb NEW.deb OLD.rpm NEW.rpm
set -eu

suite=$1 oldDeb=$2 newDeb=$3 oldRPM=$4 newRPM=$5
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
trap 'exit 1' HUP INT TERM
root=$work/root

fail() { echo "FAIL: $suite: $*" >&2; exit 1; }
passed() { echo "ok    $suite: $*"; }

# apart runs a program where neither the network nor the mounts of this host are at stake. systemd-sysusers of Debian 11 needs
# /proc.
apart() {
	# shellcheck disable=SC2016 # for the inner shell
	unshare --net --mount env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 ROOT="$root" \
		sh -c 'mount -t proc proc "$ROOT/proc" && exec "$@"' sh "$@"
}

# inside runs a program of the throw-away Debian.
inside() { apart chroot "$root" "$@"; }

# quietly writes what the command says to $work/log, and shows it only when it fails.
quietly() { "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "$*"; }; }

config=$root/etc/natd/natd.toml

# secret: the configuration is for root and the group natd.
secret() {
	[ "$(inside stat -c %U:%G:%a /etc/natd/natd.toml)" = root:natd:640 ] || fail "$1: owner or mode of natd.toml"
}

# gone LIST: what may be left of natd, from the package's view.
gone() {
	left=$(cd "$root" && find etc usr var run -name '*natd*' ! -path 'var/lib/dpkg/*' ! -path 'var/log/dpkg*' ! -path 'usr/local/*' ! -path 'var/cache/*')
	[ "$left" = "$1" ] || fail "left after the removal: $left, want: $1"
}

install() {
	quietly inside dpkg -i /old.deb
	grep -q 'neither enabled nor started' "$work/log" || fail 'the first installation does not say what comes next'
	[ "$(inside systemctl is-enabled natd.service)" = disabled ] || fail 'the first installation enables natd'
	inside getent passwd natd | grep -q nologin || fail 'there is no user natd'
	secret 'first installation'
	quietly inside natctl check
	passed 'installed: a user, a configuration for its group, nothing enabled'
}

upgrade() {
	quietly inside systemctl enable natd.service
	echo '# of the administrator' >>"$config"
	quietly inside dpkg -i /new.deb
	grep -q 'neither enabled' "$work/log" && fail 'an upgrade speaks as the first installation does'
	grep -q '# of the administrator' "$config" || fail 'an upgrade loses the configuration'
	[ "$(inside systemctl is-enabled natd.service)" = enabled ] || fail 'an upgrade disables natd'
	secret upgrade
	quietly inside dpkg -i /new.deb
	passed 'upgraded, and once more: the configuration is kept, and so is that natd is enabled'
}

remove() {
	quietly inside dpkg -r natd
	gone "$(printf 'etc/natd\netc/natd/natd.toml')"
	quietly inside dpkg -i /new.deb
	grep -q 'neither enabled nor started' "$work/log" || fail 'an installation after a removal does not say what comes next'
	grep -q '# of the administrator' "$config" || fail 'removal and installation lose the configuration'
	mkdir -p "$root/var/lib/natd" "$root/var/log/natd"
	quietly inside dpkg -P natd
	gone ''
	inside getent passwd natd >/dev/null || fail 'purge removes the user'
	passed 'removed: the configuration stays. Purged: nothing stays but the user'
}

# calls WHAT STATE COMMAND... runs the command while natd is in the STATE, and compares what the scripts tell systemctl with
# what is on standard input.
calls() {
	what=$1
	echo "$2" >"$root/state"
	: >"$root/calls"
	shift 2
	quietly "$@"
	diff -u - "$root/calls" >&2 || fail "$what: the scripts call this"
	passed "$what"
}

debInstall() { inside dpkg -i /old.deb; }
debUpgrade() { inside dpkg -i /new.deb; }
debRemove() { inside dpkg -r natd; }
rpmInstall() { apart rpm --root "$root" --nodeps -i "$oldRPM"; }
rpmUpgrade() { apart rpm --root "$root" --nodeps -U "$newRPM"; }
rpmRemove() { apart rpm --root "$root" --nodeps -e natd; }

# booted FORMAT: how the scripts speak with a systemd that runs, called by dpkg or by rpm.
booted() {
	calls "$1: the installation starts nothing" inactive "$1Install" <<-'EOT'
		daemon-reload
		--quiet is-enabled natd.service
	EOT
	secret "$1: installation"
	calls "$1: an upgrade restarts natd, and never stops it before" active "$1Upgrade" <<-'EOT'
		daemon-reload
		is-active natd.service
		restart natd.service
	EOT
	secret "$1: upgrade"
	calls "$1: the removal disables and stops natd" active "$1Remove" <<-'EOT'
		--quiet --no-reload disable natd.service
		stop natd.service
		daemon-reload
	EOT
	quietly "$1Install"
	calls "$1: an upgrade restarts a natd that waits for its network" activating "$1Upgrade" <<-'EOT'
		daemon-reload
		is-active natd.service
		restart natd.service
	EOT
	quietly "$1Remove"
	quietly "$1Install"
	calls "$1: an upgrade leaves a natd that is stopped" inactive "$1Upgrade" <<-'EOT'
		daemon-reload
		is-active natd.service
		--quiet is-enabled natd.service
	EOT
	quietly "$1Remove"
}

# pretend puts a systemctl in the place of the real one, that writes down what it is told.
pretend() {
	mkdir -p "$root/run/systemd/system"
	cat >"$root/bin/systemctl" <<-'EOT'
		#!/bin/sh
		echo "$*" >>/calls
		[ "$1" != is-active ] || cat /state
	EOT
}

mmdebstrap --quiet --variant=apt --include=systemd "$suite" "$root" >"$work/log" 2>&1 || { cat "$work/log" >&2; fail mmdebstrap; }
cp "$oldDeb" "$root/old.deb"
cp "$newDeb" "$root/new.deb"
install
upgrade
remove
pretend
booted deb
quietly inside dpkg -P natd
booted rpm
