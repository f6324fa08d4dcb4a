#!/usr/bin/env bash
# EC2 user-data: from a fresh Amazon Linux 2023 or Debian image to a relay that works. Set the package and the
# configuration below and give this file to the instance as its user-data, or run it as root on a host that stands.
# Run again, it changes nothing that is right, and never writes over a configuration that somebody else has edited. It
# ends with 0 only when natd runs the file that stands in /etc/natd, and says "ready"; when that file is not what the
# settings below ask for, it says so. cloud-init keeps its words in /var/log/cloud-init-output.log.
set -euo pipefail

# --- Settings: edit them here, or set them in the environment in capitals, which wins. -------------------------------

# Where the package is: https:// or http:// (with its sum), s3:// (with the aws command), file:// or an absolute path.
# It ends in .deb or .rpm, before a "?" if there is one, as in presigned URLs. {arch} stands for this machine's
# architecture as such packages name it: amd64 or arm64 in a .deb, x86_64 or aarch64 in an .rpm.
package_url=''
# Its SHA-256 in hex. Several, between blanks, when {arch} stands for one of several packages.
package_sha256=''
# How many seconds to wait for another package installation that runs at boot, and for natd to be ready.
lock_timeout=300
ready_timeout=120

# The configuration, as natd.toml(5) and /usr/share/doc/natd/config.example.toml describe it.
default_config() {
	cat <<'END'
[[relay]]
name   = "web"
listen = "10.2.0.100:80"      # what clients dial: an address of this instance
from   = ["10.1.0.0/16"]      # who may: VPC A
to     = ["10.3.0.100:80"]    # the server in VPC C

# [metrics]                   # Prometheus, health checks and a status page, on 127.0.0.1:9469; off without this table
END
}

# --- Nothing to edit below. ------------------------------------------------------------------------------------------

: "${PACKAGE_URL:=$package_url}" "${PACKAGE_SHA256:=$package_sha256}" "${NATD_CONFIG:=$(default_config)}"
: "${LOCK_TIMEOUT:=$lock_timeout}" "${READY_TIMEOUT:=$ready_timeout}"

config=/etc/natd/natd.toml
# The SHA-256 of each configuration that this script wrote: one that has such a sum is nobody else's.
written=/etc/natd/.user-data.sha256

say() { printf 'natd setup: %s\n' "$*"; }

die() {
	printf 'natd setup: FAILED: %s\n' "$*" >&2
	exit 1
}

# The name of this machine's architecture in packages of one kind, deb or rpm.
architecture() {
	case $1-$(uname -m) in
	deb-x86_64) echo amd64 ;;
	deb-aarch64) echo arm64 ;;
	rpm-x86_64 | rpm-aarch64) uname -m ;;
	*) die "there is no natd package ($1) for $(uname -m), only for x86_64 and aarch64" ;;
	esac
}

# Brings the package from url to the file named by the second argument.
fetch() {
	local url=$1 file=$2
	case $url in
	https://* | http://*)
		[ -n "$PACKAGE_SHA256" ] || die "PACKAGE_SHA256 is empty: a package from $url is not installed without its sum"
		if command -v curl >/dev/null; then
			curl --fail --silent --show-error --location --retry 5 --retry-connrefused --max-time 300 --output "$file" "$url"
		else
			wget --quiet --tries=5 --timeout=60 --output-document="$file" "$url"
		fi || die "cannot fetch $url: is it right, and has this subnet a way there?"
		;;
	s3://*)
		command -v aws >/dev/null || die "s3:// needs the aws command: install it, or give a presigned https:// URL"
		aws s3 cp --only-show-errors "$url" "$file" ||
			die "cannot fetch $url: does the role of this instance allow s3:GetObject there?"
		;;
	file:///* | /*) cp -- "${url#file://}" "$file" || die "cannot read the package $url" ;;
	*) die "PACKAGE_URL=\"$url\" does not begin with https://, http://, s3://, file:/// or /" ;;
	esac
}

# Ends the script unless the file has one of the sums in PACKAGE_SHA256, or none was given.
verify() {
	local sum wanted
	[ -n "$PACKAGE_SHA256" ] || return 0
	sum=$(sha256sum "$1")
	for wanted in $PACKAGE_SHA256; do
		if [ "${wanted,,}" = "${sum%% *}" ]; then return 0; fi
	done
	die "the package has the SHA-256 ${sum%% *}, not one of PACKAGE_SHA256: $PACKAGE_SHA256"
}

# Installs a .deb. apt-get waits for dpkg's lock and needs no package lists: natd depends on nothing but systemd. Its
# lock on the archives, for which it does not wait, is avoided by archives of our own.
install_deb() {
	local version installed
	version=$(dpkg-deb --field "$1" Version) || die "$PACKAGE_URL is not a Debian package"
	installed=$(dpkg-query --show --showformat='${db:Status-Status} ${Version}' natd 2>/dev/null) || installed=
	if [ "${installed% *}" = installed ] && dpkg --compare-versions "${installed#* }" ge "$version"; then
		say "natd ${installed#* } is installed"
		return
	fi
	mkdir -p "$work/archives/partial"
	DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends \
		-o "DPkg::Lock::Timeout=$LOCK_TIMEOUT" -o "Dir::Cache::Archives=$work/archives/" \
		-o Dpkg::Options::=--force-confold "$1" ||
		die "apt-get could not install natd $version: see above"
}

# Installs an .rpm. dnf waits for another one that runs, and asks no repository. Its "install" would downgrade.
install_rpm() {
	local version installed verb=upgrade
	version=$(rpm --query --package --queryformat '%{VERSION}-%{RELEASE}' "$1") || die "$PACKAGE_URL is not an RPM package"
	installed=$(rpm --query --queryformat '%{VERSION}-%{RELEASE}' natd) || installed='' verb=install
	if [ -n "$installed" ] && [ "$(rpm --eval "%{lua: print(rpm.vercmp('$installed', '$version'))}")" -ge 0 ]; then
		say "natd $installed is installed"
		return
	fi
	timeout "$LOCK_TIMEOUT" dnf "$verb" --quiet --assumeyes --disablerepo='*' "$1" ||
		die "dnf could not install natd $version within $LOCK_TIMEOUT s: see above"
}

# Fetches, checks and installs the package.
install_package() {
	local kind=${PACKAGE_URL%%\?*} url file
	kind=${kind##*.}
	case $kind in
	deb | rpm) ;;
	*) die "PACKAGE_URL=\"$PACKAGE_URL\" does not end in .deb or .rpm: set it at the top of this script" ;;
	esac
	url=${PACKAGE_URL//'{arch}'/$(architecture "$kind")}
	file=$work/natd.$kind
	say "installing $url"
	fetch "$url" "$file"
	verify "$file"
	"install_$kind" "$file"
}

# The SHA-256 of a file.
sum_of() {
	local sum
	sum=$(sha256sum <"$1")
	echo "${sum%% *}"
}

# Whether somebody else has edited the configuration: it is neither what this script wrote, nor the example of the package
# by dpkg's record (MD5) or rpm's (SHA-256). The example itself may be missing: images leave documentation out.
edited() {
	local known md5
	[ -e "$config" ] || return 1
	md5=$(md5sum <"$config")
	known=$({
		cat "$written"
		dpkg-query --show --showformat='${Conffiles}\n' natd
		rpm --query --queryformat '[%{FILENAMES} %{FILEDIGESTS}\n]' natd
	} 2>/dev/null) || true
	[[ $known != *"$(sum_of "$config")"* && $known != *" $config ${md5%% *}"* ]]
}

# Writes the configuration, unless somebody else's stands there.
configure() {
	local new=$work/natd.toml
	printf '%s\n' "$NATD_CONFIG" >"$new"
	natctl check "$new" || die "NATD_CONFIG is not valid: see above"
	if cmp --silent "$new" "$config"; then return; fi
	if edited; then
		foreign="$config has been edited by somebody else and stays as it is: what NATD_CONFIG asks for is NOT what runs"
		say "$foreign"
		return
	fi
	if [ -e "$config" ]; then cp --preserve -- "$config" "$work/before"; fi
	(umask 077 && sum_of "$new" >>"$written")
	# In one step from the old file to the new one, whatever happens in between.
	install --mode=0640 --owner=root --group=natd "$new" "$config.new"
	mv -- "$config.new" "$config"
}

# Prints the SHA-256 of the configuration that natd runs, and "refused" when it has refused a newer one; nothing when natd
# does not answer.
running() {
	natctl status --json 2>/dev/null |
		sed -n '/^  "config": {/,/^  }/ { s/.*"sha256": "\(.*\)".*/\1/p; s/.*"error": "[^"].*/refused/p }' || true
}

# Makes natd take the file. When it refuses, what stood there before stands there again.
reload() {
	local code=0
	natctl reload || code=$?
	case $code in
	0 | 4) return ;; # 4: it does not answer just now, and will read the file when it starts
	esac
	if [ -e "$work/before" ]; then
		cp --preserve -- "$work/before" "$config.new"
		mv -- "$config.new" "$config"
		natctl reload >/dev/null 2>&1 || true
		die "natd refuses NATD_CONFIG, for the reason above; $config is what it was before"
	fi
	die "natd refuses $config, for the reason above"
}

# Starts natd, now and at every boot, returns when it runs the file and is ready, and shows its status.
start() {
	local deadline=$((SECONDS + READY_TIMEOUT)) wanted now
	natctl check "$config" || die "$config is not valid: see above"
	wanted=$(sum_of "$config")
	systemctl enable --quiet --now --no-block natd.service
	while :; do
		now=$(running)
		if [ -n "$now" ] && [ "$now" != "$wanted" ]; then
			reload
			now=$(running)
		fi
		if natctl status >"$work/status" 2>&1 && [ "$now" = "$wanted" ]; then break; fi
		if [ "$SECONDS" -ge "$deadline" ]; then
			cat "$work/status" >&2
			die "natd is not ready after $READY_TIMEOUT s: the reason is above, and more in journalctl -u natd"
		fi
		sleep 1
	done
	cat "$work/status"
}

[ "$(id -u)" = 0 ] || die "this must run as root"
# cloud-init gives its scripts no PATH to rely on.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# apt-get reads the package as a user of its own.
chmod 0755 "$work"
foreign=
install_package
configure
start
say "ready${foreign:+, but $foreign. To have it, remove that file and run this again}"
