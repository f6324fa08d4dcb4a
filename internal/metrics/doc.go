// Package metrics says what natd's status says in the text format of Prometheus.
//
// It is a function of one [control.Status]: [Catalogue] lists the metrics, each with the function that finds its series in a status, and
// [Write] goes through the list. Whoever adds a metric adds it there and to docs/metrics.md.
//
// What is written goes out as it is found, series by series. A registry of client_golang first makes an object of each, some 700 bytes: with
// 10,000 relays that is more memory than all of natd may have. It is used for what the Go runtime and the process say, see [Runtime].
package metrics
