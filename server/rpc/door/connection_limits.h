// What one server allows connections; published by GetServerInfo.
#ifndef SERVER_RPC_DOOR_CONNECTION_LIMITS_H_
#define SERVER_RPC_DOOR_CONNECTION_LIMITS_H_

#include <cstdint>

namespace attention::rpc {

// Each is a flag of the server (docs/limits.md); times are in seconds, their
// flags without the unit. A client of any library with its usual settings meets
// none of them but the age, which it does not notice.
struct ConnectionLimits {
  // Open at one time. 0 stands for what the limit of open files allows, until
  // the server has looked.
  int64_t max_connections = 0;
  // Of one call's headers, which gRPC holds before anything of ours sees them.
  // A token or a trace takes one or two KiB; what proxies commonly allow is 64.
  int64_t max_header_bytes = int64_t{64} << 10;
  // Calls open on one connection. A client waits with the next one, as HTTP/2
  // has it: as many as the server holds requests.
  int32_t max_streams_per_connection = 1024;
  // How long a connection has for TLS and HTTP/2's first words: as long as
  // gRPC's own clients try to connect.
  double handshake_timeout_seconds = 20;
  // After this long a connection is asked to leave (GOAWAY): calls on it go on
  // for as long as they take, new ones open another connection. That is what
  // empties a server that stops listening, so it is less than the time that
  // supervisors wait; a TLS handshake every 30 s is no cost.
  double max_connection_age_seconds = 30;
  // After this long without a call a connection is closed. It matters where the
  // age is set to more: nobody thinks for an hour between two calls.
  double max_connection_idle_seconds = 3600;
  // Pings closer to each other than this are too many. grpc-go and others ping
  // no more often than every 10 s; half of it leaves room for a slow network
  // that brings two of them close together.
  double min_ping_interval_seconds = 5;
  // Calls that may end in a second before their message has come: all that may
  // be open at once given up each second. What gRPC holds for such a call is in
  // no account of ours (rapid resets, CVE-2023-44487).
  int32_t max_broken_calls = 1024;
};

}  // namespace attention::rpc

#endif  // SERVER_RPC_DOOR_CONNECTION_LIMITS_H_
