// Package imds asks the instance metadata service of Amazon EC2, version 2, what instance natd runs on: its network
// interfaces (ENIs), the addresses that AWS delivers to each, and the networks around them. It only asks; when to
// ask, and what to make of an answer, is the caller's business.
//
// The client is our own, on net/http: the service takes one PUT for a token and a few GETs of short texts, and the SDK for that
// brings a dozen modules with credentials, retries and middleware that natd has no use for.
//
// Nothing in an answer is trusted: any host may route 169.254.169.254 to somebody else. Answers are bounded in size and
// time, addresses are parsed, and names are held to a small alphabet, because they end up in logs and on terminals.
//
// Source of paths, headers, status codes and key names: Amazon EC2 User Guide, "Use the Instance Metadata Service to access
// instance metadata" and "Instance metadata categories".
package imds
