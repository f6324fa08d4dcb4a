// Package metrics says what natd's status says in the text format of Prometheus.
//
// It is a function of one [control.Status]: [Catalogue] lists the metrics, each with the function that finds its series in a status, and
// [Write] goes through the list. Whoever adds a metric adds it there and to docs/metrics.md.
//
// What is written goes out as it is found, series by series. A registry of client_golang first makes objects of all of them, 142 MiB
// for 10,000 relays of two backends and ten times that for 100,000, which is more than the unit lets natd have. It is used for what the Go
// runtime and the process say, see [Runtime].
package metrics
