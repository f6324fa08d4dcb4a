package vm

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Machine is one virtual machine for one run.
type Machine struct {
	Root    string   // the disk image, of Cache.Root; never written
	Kernel  *Kernel  // of Cache.Kernel
	Cmdline string   // for the kernel, besides what every machine gets
	Payload []string // directories; the stages run in a copy of all, and what is in root/ there is put over the machine's files
	Stages  []string
	Seed    map[string][]byte // files for cloud-init's data source NoCloud; none = cloud-init stays off
	Out     string            // a directory for what the machine leaves: console.txt, stages.txt and $OUT
	Timeout time.Duration     // for the whole run
}

// Memory and processors of a machine; emulated processors beyond those of this machine only slow it down.
const (
	memory     = "1024"
	processors = "2"
)

// hello is how long a machine may take to its first word. A software emulation that hangs there says nothing about natd.
const hello = 2 * time.Minute

// ErrNoUserland says that a machine never came as far as its stages.
var ErrNoUserland = errors.New("the machine did not boot")

// Again is the line that is passed on when a machine begins from the first stage again.
const Again = "##VM again, because the emulator crashed the kernel"

// Run boots the machine, runs its stages and waits until it is off. It calls line with each line that the stages write. The
// error is nil when every stage ended with exit code 0. A machine that the emulator crashed is started anew, once.
func (m *Machine) Run(ctx context.Context, line func(string)) error {
	err := m.runOnce(ctx, line)
	if err == nil || !m.crashedByEmulator() {
		return err
	}
	line(Again)
	return m.runOnce(ctx, line)
}

// crashedByEmulator tells whether the kernel died of a breakpoint that nobody had set. The kernel changes its own code behind
// breakpoints while other processors run it (smp_text_poke_batch_finish in arch/x86/kernel/alternative.c), for example when the
// first hook of netfilter comes or the last one goes; under software emulation with several processors one of them may come
// upon the breakpoint when it is gone already.
func (m *Machine) crashedByEmulator() bool {
	console, err := os.ReadFile(m.console())
	return err == nil && bytes.Contains(console, []byte("Oops: int3"))
}

func (m *Machine) runOnce(ctx context.Context, line func(string)) (err error) {
	if err := os.MkdirAll(m.Out, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "natd-vm-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	if err := m.disks(ctx, work); err != nil {
		return fmt.Errorf("make the disks: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, m.Timeout, fmt.Errorf("it was not done after %v", m.Timeout))
	defer cancel()
	if err := m.boot(ctx, work, line); err != nil {
		return err
	}
	if err := run(ctx, "tar", "-C", m.Out, "-xf", filepath.Join(work, "out.img")); err != nil {
		return fmt.Errorf("the machine left nothing: %w", err)
	}
	verdict, err := os.ReadFile(filepath.Join(m.Out, "verdict"))
	if err != nil {
		return fmt.Errorf("the machine left no verdict: %w", err)
	}
	if v := strings.TrimSpace(string(verdict)); v != "ok" {
		return errors.New(v)
	}
	return nil
}

// disks makes the files behind the disks of the run: what goes in, what comes out, and cloud-init's seed.
func (m *Machine) disks(ctx context.Context, work string) error {
	stages := filepath.Join(work, "stages")
	if err := os.WriteFile(stages, []byte(strings.Join(m.Stages, "\n")+"\n"), 0o644); err != nil {
		return err
	}
	in := filepath.Join(work, "in.img")
	args := []string{"-cf", in, "-C", work, "./stages"}
	for _, dir := range m.Payload {
		abs, err := filepath.Abs(dir) // tar counts each -C from the one before
		if err != nil {
			return err
		}
		args = append(args, "-C", abs, ".")
	}
	if err := run(ctx, "tar", args...); err != nil {
		return err
	}
	if err := run(ctx, "truncate", "-s", "%1M", in); err != nil {
		return err
	}
	if err := run(ctx, "truncate", "-s", "256M", filepath.Join(work, "out.img")); err != nil {
		return err
	}
	return m.seed(ctx, work)
}

// seed makes the disk that cloud-init looks for: a file system with the label CIDATA.
func (m *Machine) seed(ctx context.Context, work string) error {
	if m.Seed == nil {
		return nil
	}
	image := filepath.Join(work, "seed.img")
	const kilobytes = "2048"
	if err := run(ctx, "mkfs.vfat", "-C", "-n", "CIDATA", image, kilobytes); err != nil {
		return err
	}
	for name, content := range m.Seed {
		file := filepath.Join(work, name)
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return err
		}
		if err := run(ctx, "mcopy", "-i", image, file, "::"+name); err != nil {
			return err
		}
	}
	return nil
}

// boot starts the emulator and follows what the stages write until the machine is off. A machine that never says a word is
// started again, twice.
func (m *Machine) boot(ctx context.Context, work string, line func(string)) error {
	const attempts = 3
	for i := range attempts {
		err := m.emulate(ctx, work, line)
		if !errors.Is(err, ErrNoUserland) {
			return err
		}
		console := fmt.Sprintf("%s.attempt%d", m.console(), i+1)
		line(fmt.Sprintf("##VM attempt %d of %d: %v: see %s", i+1, attempts, err, console))
		if err := os.Rename(m.console(), console); err != nil {
			return err
		}
	}
	return ErrNoUserland
}

// console is the file with what the kernel and the service manager write.
func (m *Machine) console() string { return filepath.Join(m.Out, "console.txt") }

func (m *Machine) emulate(ctx context.Context, work string, line func(string)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := time.AfterFunc(hello, func() { cancel(ErrNoUserland) })
	defer silent.Stop()

	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", m.arguments(work)...)
	cmd.WaitDelay = time.Second
	var errs strings.Builder
	cmd.Stderr = &errs
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the emulator: %w", err)
	}
	spoke, err := m.follow(stdout, func(text string) { silent.Stop(); line(text) })
	err = errors.Join(err, cmd.Wait())
	switch cause := context.Cause(ctx); {
	case cause != nil:
		return cause
	case err != nil:
		return fmt.Errorf("the emulator: %w\n%s", err, errs.String())
	case !spoke:
		return ErrNoUserland
	}
	return nil
}

// follow passes each line on and keeps it in stages.txt. It tells whether there was one.
func (m *Machine) follow(r io.Reader, line func(string)) (spoke bool, err error) {
	file, err := os.Create(filepath.Join(m.Out, "stages.txt"))
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	const longest = 1 << 20
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, longest)
	for lines.Scan() {
		text := strings.TrimRight(lines.Text(), "\r")
		spoke = true
		line(text)
		if _, err := fmt.Fprintln(file, text); err != nil {
			return spoke, err
		}
	}
	return spoke, lines.Err()
}

// arguments are the emulator's.
//
// Nehalem is the quickest model here. cx16=off: QEMU 7.2's software emulation corrupts memory in cmpxchg16b, and some kernels
// die of it at every boot. A kernel that panics reboots, and the stages say so. The clock of the guest follows time, not
// instructions: programs in it measure with the same clock as those outside.
func (m *Machine) arguments(work string) []string {
	disk := func(file, options string) []string {
		return []string{"-drive", "if=virtio,format=raw,file=" + file + "," + options}
	}
	cmdline := "console=ttyS0 panic=-1 oops=panic quiet systemd.show_status=0 mitigations=off rcupdate.rcu_expedited=1 audit=0 net.ifnames=0"
	if m.Seed == nil {
		cmdline += " cloud-init=disabled"
	}
	args := []string{
		"-accel", "tcg,thread=multi,tb-size=512", "-cpu", "Nehalem,cx16=off", "-machine", "pc,usb=off",
		"-smp", processors, "-m", memory, "-nodefaults", "-no-user-config", "-display", "none", "-nic", "none", "-rtc", "base=utc",
		"-serial", "file:" + m.console(), "-serial", "stdio", "-monitor", "none", "-device", "virtio-rng-pci",
		"-kernel", filepath.Join(m.Kernel.dir, "vmlinuz"), "-initrd", filepath.Join(m.Kernel.dir, "initrd"),
		"-append", strings.TrimSpace(cmdline + " " + m.Cmdline),
	}
	args = append(args, disk(m.Root, "snapshot=on")...)
	args = append(args, disk(filepath.Join(m.Kernel.dir, "modules.img"), "readonly=on")...)
	args = append(args, disk(filepath.Join(work, "in.img"), "readonly=on")...)
	args = append(args, disk(filepath.Join(work, "out.img"), "cache=unsafe")...)
	if m.Seed != nil {
		args = append(args, disk(filepath.Join(work, "seed.img"), "readonly=on")...)
	}
	return args
}

// Count is the number of tests that passed, failed and were skipped, as "go test -v" writes them.
type Count struct{ Passed, Failed, Skipped int }

// Add counts a line, if it tells how a test ended.
func (c *Count) Add(line string) {
	word, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "--- "), ":")
	switch {
	case !strings.HasPrefix(strings.TrimSpace(line), "--- "):
	case word == "PASS":
		c.Passed++
	case word == "FAIL":
		c.Failed++
	case word == "SKIP":
		c.Skipped++
	}
}

func (c Count) String() string {
	return strconv.Itoa(c.Passed) + " passed, " + strconv.Itoa(c.Failed) + " failed, " + strconv.Itoa(c.Skipped) + " skipped"
}
