package control

import (
	"errors"
	"fmt"
)

// The exit codes of natctl, which are also the codes of errors on the socket.
const (
	CodeOK           = 0 // fine
	CodeFailed       = 1 // it was tried and failed
	CodeUsage        = 2 // the command line or the request is wrong
	CodeConfig       = 3 // the configuration is invalid
	CodeUnreachable  = 4 // natd does not answer
	CodeNotInSync    = 5 // the kernel does not hold what natd wants
	CodeDegraded     = 6 // something is down or not ready
	CodeNotPermitted = 7 // the user has no right to this
)

// Error is a failure with the exit code that tells its kind.
type Error struct {
	Code    int    `json:"code"`
	Message string `json:"message"`

	cause error
}

// Errorf makes an Error as [fmt.Errorf] makes an error. What %w wraps stays reachable for [errors.Is].
func Errorf(code int, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), cause: err}
}

// because makes an Error whose words say all that the cause would.
func because(cause error, code int, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), cause: cause}
}

// Error is the message, without the code.
func (e *Error) Error() string { return e.Message }

// Unwrap is what the error was made from. It does not travel over the socket.
func (e *Error) Unwrap() error { return e.cause }

// AsError is err as an [Error]: the one it wraps, with the words that were put around it, or else a new one with [CodeFailed].
func AsError(err error) *Error {
	var e *Error
	switch {
	case !errors.As(err, &e):
		return &Error{Code: CodeFailed, Message: err.Error(), cause: err}
	case e.Message == err.Error():
		return e
	}
	return &Error{Code: e.Code, Message: err.Error(), cause: err}
}
