package vm

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// guest is what a machine needs to run stages, and is part of every root image.
//
//go:embed guest root.go
var guest embed.FS

// rootSize is the size of a root image in MiB; the file is sparse.
const rootSize = 1600

// rootPackages make a small Debian with a booted systemd and the programs that the tests use.
const rootPackages = "systemd systemd-sysv dbus udev kmod procps iproute2 iputils-ping iptables ethtool sudo " +
	"bind9-dnsutils cloud-init conntrack curl dnsmasq-base iperf3 jq logrotate netbase netcat-openbsd nftables nginx tcpdump"

// masked are units that have nothing to do in a machine that lives for minutes, without a network and a terminal.
const masked = "systemd-networkd-wait-online.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer " +
	"e2scrub_all.timer e2scrub_reap.service fstrim.timer logrotate.timer getty@tty1.service serial-getty@ttyS0.service serial-getty@ttyS1.service " +
	"systemd-pstore.service nginx.service"

// settings makes the image a machine: a name, an identity, a journal in memory that drops nothing, networkd, and the stages.
// The dpkg options of the build go: packages that a test installs are unpacked whole.
const settings = `set -eu
cd "$1"
echo natd-vm >etc/hostname
printf '127.0.0.1 localhost natd-vm\n::1 localhost\n' >etc/hosts
printf '[Journal]\nStorage=volatile\nRateLimitBurst=0\n' >etc/systemd/journald.conf
echo 0123456789abcdef0123456789abcdef >etc/machine-id
chmod 0755 usr/local/sbin/vm-stages
chroot . systemctl -q enable systemd-networkd.service vm-input.service vm-stages.service
chroot . systemctl -q mask %s
mkdir -p lib/modules
rm -rf etc/dpkg/dpkg.cfg.d/99mmdebstrap var/cache/apt/* var/lib/apt/lists/*
`

// Root makes the disk image of a Debian release, such as bookworm, and returns its path. It needs root.
func (c *Cache) Root(ctx context.Context, suite string) (string, error) {
	inputs := []string{suite}
	err := fs.WalkDir(guest, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := guest.ReadFile(path)
		inputs = append(inputs, path, string(content))
		return err
	})
	if err != nil {
		return "", err
	}
	dir, err := c.image("root-"+suite, inputs, func(dir string) error { return buildRoot(ctx, suite, dir) })
	return filepath.Join(dir, "root.img"), err
}

func buildRoot(ctx context.Context, suite, dir string) (err error) {
	work, err := os.MkdirTemp("", "natd-vm-root-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	tree, files := filepath.Join(work, "tree"), filepath.Join(work, "files")
	sub, err := fs.Sub(guest, "guest")
	if err != nil {
		return err
	}
	if err := os.CopyFS(files, sub); err != nil {
		return err
	}
	args := []string{
		"--quiet", "--variant=apt", "--include=" + strings.Join(strings.Fields(rootPackages), ","),
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
		"--customize-hook=copy-in " + files + "/vm-stages /usr/local/sbin",
		"--customize-hook=copy-in " + files + "/vm-input.service " + files + "/vm-stages.service /etc/systemd/system",
		"--customize-hook=" + fmt.Sprintf(settings, masked),
		suite, tree,
	}
	host, err := mirror()
	if err != nil {
		return err
	}
	if err := run(ctx, "mmdebstrap", append(args, sources(host, suite)...)...); err != nil {
		return err
	}
	return ext4(ctx, filepath.Join(dir, "root.img"), tree, rootSize)
}
