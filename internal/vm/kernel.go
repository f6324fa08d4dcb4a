package vm

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// kernelSource is an input of every kernel image.
//
//go:embed kernel.go
var kernelSource string

// Kernel is a kernel that a Machine can boot.
type Kernel struct {
	Version string // such as 6.1.0-56-cloud-amd64
	dir     string // vmlinuz, initrd and modules.img
}

// prepareKernel makes the three files of a kernel from its packages: unpack them, keep the modules that networking and the
// disks of a machine need, and pack those that reach the disks, with busybox, into an initrd that is a tenth of Debian's:
// software emulation is slow at unpacking. Arguments: the directory of packages, the directory to fill.
const prepareKernel = `set -eu
packages=$1 out=$2 work=$1/work
mkdir -p "$work/tree" "$work/modules/lib/modules"
for deb in "$packages"/*.deb; do dpkg-deb -x "$deb" "$work/tree"; done
all=$(find "$work/tree" -path '*lib/modules/*' -prune -type d | head -n 1)
version=${all##*/}
cp "$(find "$work/tree" -type f -name 'vmlinuz*' | head -n 1)" "$out/vmlinuz"

keep=$work/modules/lib/modules/$version
mkdir -p "$keep/kernel"
find "$all" -maxdepth 1 -name 'modules.order' -o -name 'modules.builtin*' | xargs -r cp -t "$keep" # some series have none
for part in net lib crypto arch/x86/crypto mm fs/ext4 fs/jbd2 fs/mbcache.ko fs/overlayfs fs/fuse fs/configfs fs/autofs fs/fat fs/nls fs/binfmt_misc.ko \
	drivers/virtio drivers/block drivers/net drivers/char/hw_random drivers/firmware; do
	for file in "$all/kernel/$part" "$all/kernel/$part.xz" "$all/kernel/$part.zst"; do
		[ -e "$file" ] || continue
		mkdir -p "$keep/kernel/${part%/*}"
		cp -r "$file" "$keep/kernel/${part%/*}/"
	done
done
cd "$keep/kernel"
rm -rf net/wireless net/mac80211 net/mac802154 net/bluetooth net/nfc net/rxrpc net/tipc net/dsa net/sunrpc net/ceph net/can net/smc net/atm \
	net/batman-adv net/9p drivers/net/wireless drivers/net/wwan drivers/net/usb drivers/net/can drivers/net/phy drivers/net/dsa drivers/net/ethernet \
	drivers/net/fddi drivers/net/ieee802154 drivers/net/arcnet drivers/net/thunderbolt drivers/net/plip drivers/net/slip drivers/block/drbd
find . -name '*.ko.xz' -exec xz -d {} +
find . -name '*.ko.zst' -exec zstd -q -d --rm {} +
/sbin/depmod -b "$work/modules" "$version"

initrd=$work/initrd
mkdir -p "$initrd/bin" "$initrd/dev" "$initrd/proc" "$initrd/sys" "$initrd/new" "$initrd/modules"
cp /bin/busybox "$initrd/bin/busybox"
count=10
for module in virtio_pci virtio_blk crc32c_generic ext4; do
	/sbin/modprobe -q -d "$work/modules" -S "$version" --show-depends "$module" | sed -n 's/^insmod \([^ ]*\).*/\1/p' | while read -r file; do
		[ -e "$initrd/modules/"*"-${file##*/}" ] || cp "$file" "$initrd/modules/$count-$(printf %02d "$(ls "$initrd/modules" | wc -l)")-${file##*/}"
	done
	count=$((count + 1))
done
cat >"$initrd/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs d /dev
/bin/busybox mount -t proc p /proc
/bin/busybox mount -t sysfs s /sys
for file in /modules/*; do /bin/busybox insmod $file || /bin/busybox echo "initrd: cannot load $file"; done
tries=0
until [ -b /dev/vda ] && [ -b /dev/vdb ]; do
	tries=$((tries + 1))
	[ $tries -lt 100 ] || { /bin/busybox echo 'initrd: no disk'; /bin/busybox poweroff -f; }
	/bin/busybox sleep 0.1
done
/bin/busybox mount -t ext4 /dev/vda /new && /bin/busybox mount -t ext4 -o ro /dev/vdb /new/lib/modules || /bin/busybox poweroff -f
/bin/busybox umount /proc
/bin/busybox umount /sys
/bin/busybox mount --move /dev /new/dev
exec /bin/busybox switch_root /new /sbin/init
INIT
chmod 0755 "$initrd/init"
cd "$initrd"
find . | cpio --quiet -o -H newc -R 0:0 | gzip -1 >"$out/initrd"
printf %s "$version" >"$out/version"
`

// Kernel gets a kernel from a release's packages. The name is a release (its cloud kernel), such as bookworm or
// trixie-backports, or a release and a package: bookworm:linux-image-6.12-cloud-amd64.
func (c *Cache) Kernel(ctx context.Context, name string) (*Kernel, error) {
	suite, meta, found := strings.Cut(name, ":")
	if !found {
		meta = "linux-image-cloud-amd64"
	}
	dir, err := c.image("kernel-"+name, []string{name, kernelSource}, func(dir string) error { return buildKernel(ctx, suite, meta, dir) })
	if err != nil {
		return nil, err
	}
	version, err := os.ReadFile(filepath.Join(dir, "version"))
	if err != nil {
		return nil, fmt.Errorf("read the version of the kernel %s: %w", name, err)
	}
	return &Kernel{Version: string(version), dir: dir}, nil
}

func buildKernel(ctx context.Context, suite, meta, dir string) (err error) {
	work, err := os.MkdirTemp("", "natd-vm-kernel-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	a, err := newApt(ctx, work, suite)
	if err != nil {
		return err
	}
	if err := a.download(ctx, meta); err != nil {
		return err
	}
	script := filepath.Join(work, "prepare")
	if err := os.WriteFile(script, []byte(prepareKernel), 0o644); err != nil {
		return err
	}
	if err := run(ctx, "sh", script, work, dir); err != nil {
		return err
	}
	const modulesSize = 160 // MiB, of a sparse file
	return ext4(ctx, filepath.Join(dir, "modules.img"), filepath.Join(work, "work/modules/lib/modules"), modulesSize)
}
