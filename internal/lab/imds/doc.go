// Package imds is a stand-in for the instance metadata service of Amazon EC2, version 2: it grants tokens, answers with
// what an Instance says, and can fail in the ways of the real one. Tests serve it in a host of the lab; the program
// in the directory standin serves it on a machine, from a JSON file.
//
// Source of its manners: Amazon EC2 User Guide, "Use the Instance Metadata Service to access instance metadata".
package imds
