#!/bin/sh
# After the files are unpacked. Arguments of dpkg: "configure" and the version that was configured before, none at the first
# installation; or "abort-..." (deb-postinst(5)). Argument of rpm: how many versions there are now, 1 at the first
# installation, 2 at an upgrade (rpm-scriptlets(7)).
set -e

case "${1:-} ${2:-}" in
'configure ' | '1 ') upgrade=false ;;
'configure '* | [2-9]*) upgrade=true ;;
*) exit 0 ;; # an attempt to upgrade or remove ended, and nothing had been done
esac

if command -v systemd-sysusers >/dev/null; then
	systemd-sysusers natd.conf
fi
config=/etc/natd/natd.toml
if [ -e "$config" ] && [ "$(stat -c %G:%a "$config")" = root:640 ] && getent group natd >/dev/null; then
	chgrp natd "$config"
fi

running=false
# Not in a chroot, nor in a container without systemd.
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
	# The rules in the kernel outlive the old natd, and the new one adopts them. "systemctl try-restart" would pass over a
	# natd that waits for the network of its relays; waiting for such a one must not hold up the upgrade.
	case $($upgrade && systemctl is-active natd.service) in
	active | activating | reloading)
		running=true
		timeout 60 systemctl restart natd.service ||
			echo 'The new natd is not ready; "natctl status" says why. The rules in the kernel stay as they were.' >&2
		;;
	esac
fi

# No relay can be right before it has the addresses of this host, so nothing is started. To dpkg an installation after a removal
# is an upgrade, and the removal has disabled the service.
if ! $running && ! systemctl --quiet is-enabled natd.service 2>/dev/null; then
	echo "natd is neither enabled nor started. Edit $config, then: natctl check && systemctl enable --now natd"
fi
