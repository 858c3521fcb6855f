#include "client/cpp/shared_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "grpcpp/support/slice.h"

namespace attention::client {
namespace {

using ::testing::IsSupersetOf;

std::vector<grpc::Slice> SlicesOf(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(buffer.Dump(&slices).ok());
  return slices;
}

std::string TextOf(const std::vector<grpc::Slice>& slices) {
  std::string text;
  for (const grpc::Slice& slice : slices) {
    text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return text;
}

// Tensors of so many bytes, and fields before, between and after them.
std::shared_ptr<const v1::ComputeAttentionRequest> RequestOf(size_t query_bytes,
                                                             size_t bias_bytes,
                                                             int values = 0) {
  auto request = std::make_shared<v1::ComputeAttentionRequest>();
  request->mutable_weight_set()->set_name("name");
  v1::Tensor& query = *request->mutable_query();
  query.add_shape(3);
  query.mutable_data()->resize(query_bytes, 'q');
  request->set_causal(true);
  v1::Tensor& bias = *request->mutable_bias();
  bias.mutable_data()->resize(bias_bytes, 'b');
  for (int i = 0; i < values; ++i) bias.add_values(i);
  request->set_softmax_scale(0.5);
  return request;
}

TEST(SharedRequest, BytesAreThoseOfProtobuf) {
  const std::vector<size_t> sizes = {0,    1,    127,  128,     4000,
                                     4095, 4096, 4097, 1 << 20, 3'000'001};
  for (const size_t query : sizes) {
    for (const size_t bias : sizes) {
      for (const int values : {0, 1, 2000}) {
        const auto request = RequestOf(query, bias, values);
        const grpc::ByteBuffer buffer = Serialize(request);
        EXPECT_EQ(buffer.Length(), request->ByteSizeLong());
        EXPECT_TRUE(TextOf(SlicesOf(buffer)) == request->SerializeAsString())
            << query << ", " << bias << ", " << values;
      }
    }
  }
  const auto nothing = std::make_shared<const v1::ComputeAttentionRequest>();
  EXPECT_EQ(Serialize(nothing).Length(), 0u);
}

TEST(SharedRequest, LargeDataStayWhereTheyLie) {
  const auto request = RequestOf(1 << 20, 5000);
  std::vector<const void*> places;
  for (const grpc::Slice& slice : SlicesOf(Serialize(request))) {
    places.push_back(slice.begin());
  }
  const std::vector<const void*> data = {request->query().data().data(),
                                         request->bias().data().data()};
  EXPECT_THAT(places, IsSupersetOf(data));
}

TEST(SharedRequest, IsHeldAsLongAsBytesReferToIt) {
  auto request = RequestOf(1 << 20, 1 << 20);
  const std::weak_ptr<const v1::ComputeAttentionRequest> watch = request;
  const std::string bytes = request->SerializeAsString();
  std::vector<grpc::Slice> slices = SlicesOf(Serialize(request));
  request.reset();
  ASSERT_FALSE(watch.expired());
  EXPECT_TRUE(TextOf(slices) == bytes);
  slices.clear();
  EXPECT_TRUE(watch.expired());
}

}  // namespace
}  // namespace attention::client
