package authgrpc

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	authsvc "authsvc/sdk/go"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	health_v1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const (
	token  = "tok_7Hk2pQ9xV3bN10000000000000000000014q60P2ZR2bw"
	active = `{"active": true, "token_type": "Bearer", "sub": "ada", "client_id": "app", "session_id": "7Hk2pQ9xV3bN",
		"exp": 1800000900, "iat": 1800000000, "roles": ["editor"]}`
	check = "/grpc.health.v1.Health/Check"
	list  = "/grpc.health.v1.Health/List"
	watch = "/grpc.health.v1.Health/Watch"
)

// serve starts a gRPC server with these rules, beside a service that says what `answer` holds.
func serve(t *testing.T, rules Rules) (client health_v1.HealthClient, answer *atomic.Value) {
	t.Helper()
	answer = &atomic.Value{}
	answer.Store(active)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer.Load() == "" {
			w.WriteHeader(503)
		}
		fmt.Fprint(w, answer.Load())
	}))
	t.Cleanup(service.Close)
	auth, err := authsvc.New(service.URL, "backend", "sec_x", func(s *authsvc.Settings) {
		s.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(auth.Close)
	server := grpc.NewServer(
		grpc.UnaryInterceptor(Unary(auth, rules)), grpc.StreamInterceptor(Stream(auth, rules)))
	health_v1.RegisterHealthServer(server, health.NewServer())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	connection, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	return health_v1.NewHealthClient(connection), answer
}

func with(header ...string) context.Context {
	return metadata.AppendToOutgoingContext(context.Background(), header...)
}

// A call passes with an active token that has what its method requires.
func TestUnary(t *testing.T) {
	client, answer := serve(t, Rules{Methods: map[string]authsvc.Require{list: {Role: "admin"}}})
	bearer := with("authorization", "Bearer "+token)
	for _, one := range []struct {
		ctx    context.Context
		answer string
		code   codes.Code
	}{
		{bearer, active, codes.OK},
		{bearer, `{"active": false}`, codes.Unauthenticated},
		{bearer, "", codes.Unavailable},
		{context.Background(), active, codes.Unauthenticated},
		{with("authorization", "Bearer a b"), active, codes.InvalidArgument},
		{with("authorization", "Bearer a", "authorization", "Bearer b"), active, codes.InvalidArgument},
	} {
		answer.Store(one.answer)
		if _, err := client.Check(one.ctx, &health_v1.HealthCheckRequest{}); status.Code(err) != one.code {
			t.Errorf("%v, want %v", err, one.code)
		}
	}
	answer.Store(active)
	if _, err := client.List(bearer, &health_v1.HealthListRequest{}); status.Code(err) != codes.PermissionDenied {
		t.Error(err)
	}
}

// An open method requires no token.
func TestOpenMethods(t *testing.T) {
	client, _ := serve(t, Rules{Open: []string{check, watch}})
	if _, err := client.Check(context.Background(), &health_v1.HealthCheckRequest{}); err != nil {
		t.Error(err)
	}
	stream, err := client.Watch(context.Background(), &health_v1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Error(err)
	}
}

// A stream ends with its token, with the status of a new call.
func TestStreams(t *testing.T) {
	client, answer := serve(t, Rules{})
	for _, one := range []struct {
		then string
		code codes.Code
	}{{`{"active": false}`, codes.Unauthenticated}, {"", codes.Unavailable}} {
		answer.Store(active)
		stream, err := client.Watch(with("authorization", "Bearer "+token), &health_v1.HealthCheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		answer.Store(one.then)
		if _, err := stream.Recv(); status.Code(err) != one.code {
			t.Errorf("%v, want %v", err, one.code)
		}
	}
	stream, err := client.Watch(context.Background(), &health_v1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Error(err)
	}
}

// waiting is a stream on which no message arrives.
type waiting struct {
	grpc.ServerStream
	ctx context.Context
}

func (w waiting) RecvMsg(any) error {
	<-w.ctx.Done()
	return w.ctx.Err()
}

// A handler that waits for a message is woken when the token ends.
func TestAWaitingHandlerIsWoken(t *testing.T) {
	outer, cancel := context.WithCancel(context.Background())
	defer cancel()
	watched, end := context.WithCancelCause(outer)
	stream := &watchedStream{waiting{ctx: outer}, watched}
	end(authsvc.Refuse(authsvc.ErrInactive))
	if err := stream.RecvMsg(nil); status.Code(err) != codes.Unauthenticated {
		t.Error(err)
	}
	if err := stream.SendMsg(nil); status.Code(err) != codes.Unauthenticated {
		t.Error(err)
	}
}
