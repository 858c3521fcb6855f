// How long a server computes for a caller that has gone.
#ifndef BENCH_RPC_CANCEL_TRIAL_H_
#define BENCH_RPC_CANCEL_TRIAL_H_

#include <sys/types.h>

#include <chrono>
#include <memory>

#include "bench/requests.h"
#include "grpcpp/channel.h"

namespace attention::bench {

enum class Ending { kCancel, kDeadline };

// Sends the exchange and ends it after `delay`, by TryCancel or by a deadline;
// milliseconds from then until the process `server` uses no processor time any
// more, by the kernel's own count and to half a millisecond. Negative if it was
// answered before. Throws std::runtime_error.
double MillisecondsAfter(Ending ending, std::chrono::microseconds delay,
                         const std::shared_ptr<grpc::Channel>& channel,
                         const Exchange& exchange, pid_t server);

}  // namespace attention::bench

#endif  // BENCH_RPC_CANCEL_TRIAL_H_
