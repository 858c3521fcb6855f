// How TCP paces what gRPC sends.
#ifndef SOCKETS_CONGESTION_CONTROL_H_
#define SOCKETS_CONGESTION_CONTROL_H_

#include <grpcpp/impl/server_builder_option.h>
#include <grpcpp/support/channel_arguments.h>

#include <memory>
#include <string>

namespace attention::sockets {

// For connections of a machine with itself: Linux's default, which sends as
// acknowledgements come in. BBR, which some machines have as their default,
// spreads what it sends over time to spare a network that is not there.
inline constexpr char kLoopbackCongestionControl[] = "cubic";

// Makes the TCP connections of a channel use this congestion control, a name as
// in tcp(7). Where the kernel does not offer it, or does not allow it to this
// process, they keep the default.
void UseCongestionControl(const std::string& name,
                          grpc::ChannelArguments& arguments);

// The same for the connections that a server accepts.
std::unique_ptr<grpc::ServerBuilderOption> WithCongestionControl(
    std::string name);

}  // namespace attention::sockets

#endif  // SOCKETS_CONGESTION_CONTROL_H_
