// Package flowlog makes flow records of what connections have carried, and keeps them in a file. A Log takes samples and hands
// out lines, a File takes lines and looks after its size. Neither waits for the other: what a disk does not take in time is
// counted and left out, and the log says that it was.
package flowlog
