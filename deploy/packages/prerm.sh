#!/bin/sh
# Before the files go. Argument of dpkg: "remove", or "upgrade" and others (deb-prerm(5)). Argument of rpm: how many versions
# will be left, 0 at the removal, 1 at an upgrade (rpm-scriptlets(7)).
set -e

case "${1:-}" in
remove | 0) ;;
*) exit 0 ;; # at an upgrade the old natd works until postinst.sh starts the new one
esac

if command -v systemctl >/dev/null; then
	systemctl --quiet --no-reload disable natd.service || true
fi

# In a chroot the kernel's rules are not this system's.
if [ -d /run/systemd/system ]; then
	systemctl stop natd.service || true
	# While natctl is still there: the host shall be as before, its rules and sysctls.
	natctl flush >/dev/null ||
		echo 'natctl could not remove what natd made in the kernel. A reboot does, or: nft delete table inet natd' >&2
fi
