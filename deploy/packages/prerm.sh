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
	# The host shall be as before, its rules and sysctls. A natd that runs knows best what they were: in a container whose boot
	# id is made up, its record is not ours. What it leaves, because it does not run or hangs, the second flush removes.
	timeout 60 natctl flush >/dev/null 2>&1 || true
	systemctl stop natd.service || true
	if said=$(natctl flush); then
		printf '%s\n' "$said" | sed -n 's/^note: /natctl flush: /p' # what it could not give back
	else
		echo 'natctl could not remove what natd made in the kernel. A reboot does, or: nft delete table inet natd' >&2
	fi
fi
