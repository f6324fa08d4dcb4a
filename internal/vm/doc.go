// Package vm boots virtual machines for tests: a Debian of a chosen release on a chosen Debian kernel, under QEMU's
// software emulation, so that neither KVM nor a network is needed. It owns the images and the machines; what runs inside
// is in checks, and which machine runs what is in scenarios.
//
// A Cache makes two kinds of images and keeps them: Root, a Debian without a kernel, and Kernel, a kernel with the modules
// that networking needs. A Machine boots a copy-on-write view of both. What goes in and what comes out are tar files on
// disks of their own, because Debian's cloud kernels have neither 9p nor vsock sockets: the payload with a list of stages, and
// what the stages left in $OUT. A stage is a shell command or the word "reboot".
package vm
