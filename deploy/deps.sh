#!/bin/sh
# Installs the Debian packages named in PACKAGES, quick when all are there, and starts no service: the nginx of the
# package would sit on port 80 of this machine. Called by "make deps".
set -eu

if ! command -v dpkg-query >/dev/null; then
	echo "This is not Debian. Tests and demo need what Debian calls: $PACKAGES" >&2
	exit 0
fi

missing=
for package in $PACKAGES; do
	case $(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true) in
	*' installed') ;;
	*) missing="$missing $package" ;;
	esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
	echo "These packages are missing: run \"sudo make deps\" or \"sudo apt-get install$missing\"." >&2
	echo 'Without them, "make test-short" runs the tests that need none.' >&2
	exit 1
fi

# Exit code 101 of this program forbids package scripts to start a service, see invoke-rc.d(8). One that stands is
# the administrator's word, and stays.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	trap 'rm -f "$policy"' EXIT
	trap 'exit 1' HUP INT TERM
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 0755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# shellcheck disable=SC2086 # a list of words
apt-get install -q -y --no-install-recommends $missing

# Nor at the next boot, nor now, should that program of the administrator allow it.
command -v systemctl >/dev/null || exit 0
for service in nginx firewalld haproxy nftlb prometheus; do
	case $missing in
	*" $service"*) systemctl disable --quiet --now "$service.service" || true ;;
	esac
done
