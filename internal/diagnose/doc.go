// Package diagnose walks the way of a relay's packets, client -> host -> target -> host -> client, and says where it breaks:
// what was looked at, what was found, what follows from it. It changes nothing.
//
// It has two halves. Evidence is gathered at the rim, from the kernel, from the running natd and by asking the target;
// conclusions are drawn from it by pure functions, so that every code can be shown from evidence alone.
package diagnose
