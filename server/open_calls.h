// Calls that gRPC knows of, also those that have reached no handler.
#ifndef SERVER_OPEN_CALLS_H_
#define SERVER_OPEN_CALLS_H_

#include <cstdint>

namespace attention::server {

// Of all gRPC servers of this process since it began. A call has begun when its
// headers are there, though its message is still arriving, and has ended when
// its answer is out.
struct OpenCalls {
  int64_t begun = 0;
  int64_t ended = 0;
  int64_t open() const { return begun - ended; }
};

// What gRPC counts for channelz, which is on by default. Takes some
// microseconds for each server. Thread-safe.
OpenCalls CountOpenCalls();

}  // namespace attention::server

#endif  // SERVER_OPEN_CALLS_H_
