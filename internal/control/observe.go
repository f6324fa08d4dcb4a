package control

import "time"

// Accounting is how well connections, bytes and packets are counted.
type Accounting struct {
	Exact bool      `json:"exact"` // those of connections that have ended are counted, too: [metrics] or [flow_log] is on
	Since time.Time `json:"since"` // when the counts began, over restarts of natd
	Lost  uint64    `json:"lost"`  // times that the kernel dropped events because natd was too slow
}

// FlowLog is how the flow log fares.
type FlowLog struct {
	Path      string    `json:"path"`
	Format    string    `json:"format"`
	Interval  string    `json:"interval"`
	Records   uint64    `json:"records"` // written since natd started
	Dropped   uint64    `json:"dropped"` // not written: the disk was full or slow
	LastWrite time.Time `json:"last_write"`
	Error     string    `json:"error"` // why the last write failed, "" when it did not
}

// Metrics is where metrics are served.
type Metrics struct {
	Listen string `json:"listen"`
	Error  string `json:"error"` // why nothing listens there, "" when it does
}
