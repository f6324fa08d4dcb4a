#!/bin/sh
# After the files are gone. Argument of dpkg: "remove", "purge", or "upgrade" and others (deb-postrm(5)). Argument of rpm:
# how many versions are left, 0 at the removal; it has no purge, so the state stays (rpm-scriptlets(7)).
set -e

case "${1:-}" in
remove | 0) ;;
purge)
	# The user natd stays: files elsewhere may be its, and the next user would get its number.
	rm -rf /etc/natd /var/lib/natd /var/log/natd
	;;
*) exit 0 ;;
esac

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi
