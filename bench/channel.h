// How both sides of a comparison over a socket are set up.
#ifndef BENCH_CHANNEL_H_
#define BENCH_CHANNEL_H_

#include <grpc/grpc.h>

namespace attention::bench {

// What attention-server and its clients announce (HTTP/2's largest).
inline constexpr int kMaxFrameBytes = 16777215;

}  // namespace attention::bench

#endif  // BENCH_CHANNEL_H_
