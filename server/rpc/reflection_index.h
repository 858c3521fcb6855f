// What grpc.reflection tells.
#ifndef SERVER_RPC_REFLECTION_INDEX_H_
#define SERVER_RPC_REFLECTION_INDEX_H_

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "grpc/reflection/v1/reflection.pb.h"

namespace google::protobuf {
class Descriptor;
class EnumDescriptor;
class FileDescriptor;
}  // namespace google::protobuf

namespace attention::rpc {

// The services that are listed and the files, messages and fields below them.
// protobuf's own pool of descriptors is not asked for names that a client
// chose: it remembers for ever each that it does not have. Thread-safe.
class ReflectionIndex {
 public:
  // REQUIRES: all of `services` are compiled in.
  explicit ReflectionIndex(const std::vector<std::string>& services);

  // Throws std::bad_alloc.
  grpc::reflection::v1::ServerReflectionResponse Answer(
      const grpc::reflection::v1::ServerReflectionRequest& request) const;

  // Bytes of descriptors in the largest answer, at most.
  int64_t largest() const { return largest_; }

 private:
  // A file and those it imports, directly or not: each after what it imports.
  struct File {
    std::string serialized;
    std::vector<const File*> imports;
  };
  using Names = std::map<std::string, const File*>;

  const File* AddFile(const google::protobuf::FileDescriptor& file);
  void AddMessage(const google::protobuf::Descriptor& message,
                  const File* file);
  void AddEnum(const google::protobuf::EnumDescriptor& type, const File* file);

  const std::vector<std::string> services_;
  std::vector<std::unique_ptr<File>> storage_;
  Names files_;
  Names symbols_;
  std::set<std::string> messages_;
  int64_t largest_ = 0;
};

}  // namespace attention::rpc

#endif  // SERVER_RPC_REFLECTION_INDEX_H_
