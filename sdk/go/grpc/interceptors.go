// Package authgrpc protects a gRPC server with authsvc.
package authgrpc

import (
	"context"
	"errors"
	"net/http"
	"slices"

	authsvc "authsvc/sdk/go"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Rules say what the methods of a server require, by their full names such as `/shop.Orders/Delete`. A method that is
// not named requires an active token.
type Rules struct {
	Methods map[string]authsvc.Require
	Open    []string // methods that require nothing, such as `/grpc.health.v1.Health/Check`
}

// Unary returns the interceptor of calls with one answer. The handler finds the user with authsvc.FromContext.
func Unary(auth *authsvc.Introspector, rules Rules) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		admitted, err := rules.admit(ctx, auth, info.FullMethod)
		if err != nil {
			return nil, err
		}
		return handle(admitted, request)
	}
}

// Stream returns the interceptor of streams. The context of a stream ends with its token. Receiving and sending then
// fail, and the client gets the status that a new call would get.
func Stream(auth *authsvc.Introspector, rules Rules) grpc.StreamServerInterceptor {
	return func(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		admitted, err := rules.admit(stream.Context(), auth, info.FullMethod)
		if err != nil {
			return err
		}
		if authsvc.FromContext(admitted) == nil { // an open method
			return handle(server, stream)
		}
		watched, stop := authsvc.WhileActive(admitted)
		defer stop()
		err = handle(server, &watchedStream{stream, watched})
		if watched.Err() != nil {
			return statusOf(context.Cause(watched))
		}
		return err
	}
}

// watchedStream is a stream that ends with its context.
type watchedStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (w *watchedStream) Context() context.Context { return w.ctx }

func (w *watchedStream) SendMsg(message any) error {
	if w.ctx.Err() != nil {
		return statusOf(context.Cause(w.ctx))
	}
	return w.ServerStream.SendMsg(message)
}

// RecvMsg does not wait longer than the token lives, for a message that may never come. gRPC ends the inner call when
// the handler returns.
func (w *watchedStream) RecvMsg(message any) error {
	received := make(chan error, 1)
	go func() { received <- w.ServerStream.RecvMsg(message) }()
	select {
	case err := <-received:
		return err
	case <-w.ctx.Done():
		return statusOf(context.Cause(w.ctx))
	}
}

func (r Rules) admit(ctx context.Context, auth *authsvc.Introspector, method string) (context.Context, error) {
	if slices.Contains(r.Open, method) {
		return ctx, nil
	}
	admitted, err := auth.Authorize(ctx, metadata.ValueFromIncomingContext(ctx, "authorization"), r.Methods[method])
	if err != nil {
		return nil, statusOf(err)
	}
	return admitted, nil
}

// statusOf returns the status for a refusal: Unauthenticated, PermissionDenied, InvalidArgument or Unavailable. A client
// keeps its tokens when it gets Unavailable.
func statusOf(err error) error {
	var refusal *authsvc.Refusal
	if !errors.As(err, &refusal) {
		return status.FromContextError(err).Err()
	}
	code := codes.Unavailable
	switch refusal.Status {
	case http.StatusBadRequest:
		code = codes.InvalidArgument
	case http.StatusUnauthorized:
		code = codes.Unauthenticated
	case http.StatusForbidden:
		code = codes.PermissionDenied
	}
	return status.Error(code, refusal.Code+": "+refusal.Description)
}
