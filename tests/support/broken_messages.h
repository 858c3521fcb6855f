// Messages that are none, of every method, and what their refusals must be.
#ifndef TESTS_SUPPORT_BROKEN_MESSAGES_H_
#define TESTS_SUPPORT_BROKEN_MESSAGES_H_

#include <google/protobuf/descriptor.h>
#include <google/rpc/status.pb.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/any_call.h"

namespace attention {

struct Method {
  std::string path;
  const google::protobuf::Descriptor* request;
  bool reads_one;  // the request is no stream
};

// The service's, those of health, and those of both reflections.
std::vector<Method> AllMethods();

// A tag, and bytes behind their length, as the wire has them.
std::string TagOf(int field, uint32_t type);
std::string Sized(const std::string& body);

// As which a field is sent that is not packed.
uint32_t WireTypeOf(const google::protobuf::FieldDescriptor& field);

// Messages of which each has one part that cannot be parsed: of every field,
// and of the messages inside, every wrong wire type, cut, and varint without an
// end.
std::vector<std::string> BrokenMessages(
    const google::protobuf::Descriptor& message);

// The status of the call or, for a message of StreamAttention, of its answer.
google::rpc::Status StatusOf(const Method& method, const AnyAnswer& answer);

// How a refusal breaks the promises of all refusals; empty if it does not: no
// code that is a mistake of ours or says that it hung, words, exactly one
// reason of the contract's list, and a field where the reason is one.
std::string Fault(const google::rpc::Status& status);

// Of ErrorInfo, and the first of BadRequest; empty if there is none.
std::string ReasonOf(const google::rpc::Status& status);
std::string FieldOf(const google::rpc::Status& status);

}  // namespace attention

#endif  // TESTS_SUPPORT_BROKEN_MESSAGES_H_
