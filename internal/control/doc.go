// Package control owns the unix socket over which natctl asks natd: the documents that travel on it, the
// server, the client, and who may ask for what.
//
// # Protocol
//
// A connection carries one request and one answer, each a line of JSON:
//
//	{"version":1,"op":"connections","args":{"relay":"web"}}
//	{"version":1,"ok":true,"data":{…}}
//	{"version":1,"ok":false,"error":{"code":7,"message":"not permitted: …"}}
//
// The code of an error is the exit code of natctl. A request has at most 64 KiB and no fields beside these;
// a version that the server does not speak is answered with the one it speaks. An answer has at most
// 256 MiB, and may hold fields that an older client does not know.
//
// # Rights
//
// Root, natd's own user and the members of the socket group may read. Only root may change anything. The
// kernel names the peer (SO_PEERCRED, SO_PEERGROUPS) before a byte is read from it. Every change that is
// asked for, done or refused, is logged with the peer.
package control
