// Package checks holds the tests that need a booted system. They run as root inside the virtual machines of natd/internal/vm,
// built with the tag vm, in the order and with the reboots that natd/internal/vm/scenarios says: what one test leaves on the
// machine is where the next begins. The machine is host B of the lab; A, C and the router are network namespaces in it.
package checks
