// The context vector of "journey" in "Your journey starts with one step".
#include <attention/client.h>

#include <chrono>
#include <cstdio>
#include <iostream>
#include <vector>

int main(int argc, char** argv) {
  const std::vector<float> tokens = {0.43f, 0.15f, 0.89f,   // Your
                                     0.55f, 0.87f, 0.66f,   // journey
                                     0.57f, 0.85f, 0.64f,   // starts
                                     0.22f, 0.58f, 0.33f,   // with
                                     0.77f, 0.25f, 0.10f,   // one
                                     0.05f, 0.80f, 0.55f};  // step
  attention::client::Client client(argc > 1 ? argv[1] : "127.0.0.1:50051");

  attention::v1::ComputeAttentionRequest request;
  *request.mutable_query() = attention::client::MakeTensor(tokens, {6, 3});
  request.set_softmax_scale(1);
  const auto response = client.ComputeAttention(
      request, attention::client::Within(std::chrono::seconds(10)));
  if (!response.ok()) {
    std::cerr << response.status() << "\n";
    return 1;
  }

  const auto context = attention::client::ReadFloats(response->output());
  if (!context.ok() || context->size() != tokens.size()) return 1;
  std::printf("%.4f %.4f %.4f\n", (*context)[3], (*context)[4], (*context)[5]);
}
