// A server with the channel arguments of attention-server and a service that
// adds nothing. Listens on loopback, or on the address that is its second
// argument, such as unix:PATH. Writes its port to the file that is its first;
// stops when standard input ends.
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>

#include "bench/channel.h"
#include "bench/echo.grpc.pb.h"

namespace attention::bench {
namespace {

class EchoService : public Echo::CallbackService {
 public:
  grpc::ServerUnaryReactor* Echo(grpc::CallbackServerContext* context,
                                 const EchoRequest* request,
                                 EchoReply* reply) override {
    reply->mutable_data()->resize(request->bytes_of_reply());
    return Finish(context);
  }

  grpc::ServerUnaryReactor* Copy(grpc::CallbackServerContext* context,
                                 const CopyRequest* request,
                                 CopyReply* reply) override {
    reply->set_data(request->data());
    return Finish(context);
  }

 private:
  static grpc::ServerUnaryReactor* Finish(
      grpc::CallbackServerContext* context) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

int Main(const std::string& port_file, const std::string& address) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  EchoService service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  builder.SetMaxReceiveMessageSize(-1);
  builder.SetMaxSendMessageSize(-1);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
  builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, kMaxFrameBytes);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port == 0) {
    std::fputs("echo_server: cannot listen\n", stderr);
    return 1;
  }
  const std::string unfinished = port_file + ".new";
  std::ofstream(unfinished) << port << "\n";
  if (std::rename(unfinished.c_str(), port_file.c_str()) != 0) return 1;
  for (std::string line; std::getline(std::cin, line);) {
  }
  server->Shutdown(std::chrono::system_clock::now());
  return 0;
}

}  // namespace
}  // namespace attention::bench

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    std::fputs("usage: echo_server PORT-FILE [ADDRESS]\n", stderr);
    return 2;
  }
  return attention::bench::Main(argv[1], argc == 3 ? argv[2] : "127.0.0.1:0");
}
