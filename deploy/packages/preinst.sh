#!/bin/sh
# rpm, before the files are unpacked: /etc/natd/natd.toml belongs to the group natd, which must exist by then. Arguments: 1 at the
# first installation, 2 at an upgrade. A deb has no such script: it may not rely on systemd before it is unpacked, and
# dpkg takes root for a group that is missing until postinst.sh.
set -e

if ! getent group natd >/dev/null && command -v systemd-sysusers >/dev/null; then
	systemd-sysusers --inline 'g natd -'
fi
