// What a plan says it takes against what it takes: random requests of every
// option, run to the bytes of the reply, with the allocator and the kernel
// asked for what is held.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/core/pool/compute_pool.h"
#include "server/memory/allocated.h"
#include "server/rpc/compute/forward_plan.h"
#include "server/rpc/weights/weight_set_proto.h"
#include "server/weights/catalog.h"
#include "server/weights/store.h"
#include "tests/layer_cases/dice.h"
#include "tests/support/service_fixture.h"

namespace attention::rpc {
namespace {

using core::Dice;
using Request = v1::ComputeAttentionRequest;

// Not counted: the plan itself, closures and lists of its steps, messages
// without elements, headers of allocations; some kilobytes, whatever the
// request. And the copy of a reply that is below 16 KiB.
constexpr int64_t kUncounted = int64_t{24 + 16} << 10;
// A worker's scratch memory is never smaller; a plan says what it needs of it.
constexpr int64_t kSmallestWorkspace = int64_t{64} << 10;

int64_t HeldOf(const Cost& cost) {
  return cost.held_inputs + cost.held_reply + cost.held_workspace;
}

v1::DataType AnyFloat(Dice& dice) {
  return dice.Pick({v1::DATA_TYPE_FLOAT32, v1::DATA_TYPE_FLOAT64,
                    v1::DATA_TYPE_FLOAT16, v1::DATA_TYPE_BFLOAT16});
}

v1::Tensor Zeros(v1::DataType dtype, const std::vector<int64_t>& shape,
                 bool as_values = false) {
  int64_t elements = 1;
  for (const int64_t axis : shape) elements *= axis;
  return TensorOf(dtype, shape,
                  std::vector<double>(static_cast<size_t>(elements)),
                  as_values);
}

struct Sizes {
  int64_t batch, heads, kv_heads, query_len, kv_len, head_dim, value_dim;
};

v1::WeightSet WeightsFor(const Sizes& sizes, int64_t width, Dice& dice) {
  v1::WeightSet set;
  set.set_num_heads(static_cast<int32_t>(sizes.heads));
  set.set_num_kv_heads(static_cast<int32_t>(sizes.kv_heads));
  const bool in_out = dice.Chance(0.5);
  set.set_layout(in_out ? v1::LAYOUT_IN_OUT : v1::LAYOUT_OUT_IN);
  const v1::DataType dtype = AnyFloat(dice);
  const bool biases = dice.Chance(0.5);
  const bool as_values = dice.Chance(0.3);
  const auto fill = [&](v1::Projection& projection, int64_t in, int64_t out) {
    *projection.mutable_weight() = Zeros(
        dtype,
        in_out ? std::vector<int64_t>{in, out} : std::vector<int64_t>{out, in},
        as_values);
    if (biases) *projection.mutable_bias() = Zeros(dtype, {out}, as_values);
  };
  fill(*set.mutable_query(), width, sizes.heads * sizes.head_dim);
  fill(*set.mutable_key(), width, sizes.kv_heads * sizes.head_dim);
  fill(*set.mutable_value(), width, sizes.kv_heads * sizes.value_dim);
  if (dice.Chance(0.5)) {
    fill(*set.mutable_output(), sizes.heads * sizes.value_dim, width);
  }
  return set;
}

// Everything but the projections and the tensors that they decide about.
void AddOptions(const Sizes& sizes, Dice& dice, Request& request) {
  const auto [batch, heads, kv_heads, rows, keys, head_dim, value_dim] = sizes;
  if (dice.Chance(0.4)) {
    *request.mutable_attend_mask() = TensorOf(
        v1::DATA_TYPE_BOOL, {batch, 1, rows, keys},
        std::vector<double>(static_cast<size_t>(batch * rows * keys), 1),
        dice.Chance(0.3));
  }
  if (dice.Chance(0.4)) {
    *request.mutable_bias() =
        Zeros(AnyFloat(dice), {1, heads, rows, keys}, dice.Chance(0.3));
  }
  if (dice.Chance(0.4)) {
    for (int64_t item = 0; item < batch; ++item) {
      request.add_key_lengths(static_cast<int32_t>(dice.Between(0, keys)));
    }
  }
  if (dice.Chance(0.4)) {
    request.set_causal(dice.Chance(0.5));
    request.set_window_left(5);
    if (dice.Chance(0.5)) {
      for (int64_t item = 0; item < batch; ++item) request.add_query_offsets(1);
    } else {
      request.set_alignment(v1::ALIGNMENT_TOP_LEFT);
    }
  }
  if (dice.Chance(0.3)) request.set_softcap(2);
  if (dice.Chance(0.3)) request.mutable_dropout()->set_probability(0.25);
  request.set_want_lse(dice.Chance(0.5));
  if (dice.Chance(0.3)) {
    request.mutable_attention_matrix()->set_stage(
        v1::AttentionMatrixOptions::STAGE_ATTENTION_WEIGHTS);
    request.mutable_attention_matrix()->set_heads(
        dice.Pick({v1::AttentionMatrixOptions::HEADS_PER_HEAD,
                   v1::AttentionMatrixOptions::HEADS_MEAN}));
  } else if (dice.Chance(0.3)) {
    request.set_top_k(static_cast<int32_t>(dice.Between(1, keys)));
  }
}

// A request and the set to store for it, if it names one.
struct Case {
  Request request;
  v1::WeightSet stored;
};

Case RandomCase(Dice& dice) {
  Sizes sizes{};
  sizes.kv_heads = dice.Between(1, 3);
  sizes.heads = sizes.kv_heads * dice.Between(1, 3);
  // A long batch, for what is kept of each item; or a few longer items.
  const bool many = dice.Chance(0.15);
  sizes.batch = many ? 20'000 : dice.Between(1, 3);
  sizes.query_len = many ? 1 : dice.Between(1, 150);
  sizes.kv_len = many ? 2 : dice.Between(1, 150);
  sizes.head_dim = many ? 1 : dice.Between(1, 40);
  sizes.value_dim = many ? 1 : dice.Between(1, 40);
  const auto [batch, heads, kv_heads, rows, keys, head_dim, value_dim] = sizes;
  Case made;
  Request& request = made.request;
  const v1::DataType dtype = AnyFloat(dice);
  const bool as_values = dice.Chance(0.25);
  const auto tensor = [&](const std::vector<int64_t>& shape) {
    return Zeros(dtype, shape, as_values);
  };
  const int way = static_cast<int>(dice.Between(0, 3));
  if (way <= 1) {  // projected
    const int64_t width = dice.Between(1, 60);
    *request.mutable_query() = tensor({batch, rows, width});
    *request.mutable_key() = tensor({batch, keys, width});
    if (dice.Chance(0.5)) {
      *request.mutable_value() = tensor({batch, keys, width});
    }
    const v1::WeightSet weights = WeightsFor(sizes, width, dice);
    if (way == 0) {
      *request.mutable_weights() = weights;
    } else {
      request.mutable_weight_set()->set_name("layer");
      made.stored = weights;
    }
  } else {
    request.set_num_heads(static_cast<int32_t>(heads));
    request.set_num_kv_heads(static_cast<int32_t>(kv_heads));
    if (way == 2) {
      *request.mutable_query() = tensor({batch, rows, heads * head_dim});
      *request.mutable_key() = tensor({batch, keys, kv_heads * head_dim});
      *request.mutable_value() = tensor({batch, keys, kv_heads * value_dim});
    } else {
      *request.mutable_query() = tensor({batch, heads, rows, head_dim});
      *request.mutable_key() = tensor({batch, kv_heads, keys, head_dim});
      *request.mutable_value() = tensor({batch, kv_heads, keys, value_dim});
    }
  }
  AddOptions(sizes, dice, request);
  return made;
}

// Of as much memory as anybody likes.
memory::Ledger& NoLimit() {
  static memory::Ledger ledger(INT64_MAX);
  return ledger;
}

std::unique_ptr<weights::Catalog> CatalogWith(const v1::WeightSet& stored) {
  auto catalog =
      weights::Catalog::Open(weights::NewMemoryStore(), NoLimit()).value();
  if (stored.has_query()) {
    weights::SetRequest set;
    set.name = "layer";
    set.contents = ContentsFromProto(stored, {}).value();
    EXPECT_TRUE(catalog->Set(std::move(set)).ok());
  }
  return catalog;
}

// A request as it was received. The bytes stay when it gives them back, so that
// they are not taken for memory that became free.
struct Received {
  explicit Received(const Request& request)
      : slice(request.SerializeAsString()) {
    grpc::ByteBuffer bytes(&slice, 1);
    message.Receive(bytes);
    const absl::Status status =
        message.Parse(Limits().max_axis, [this](int64_t more) {
          charged += more;
          return absl::OkStatus();
        });
    EXPECT_TRUE(status.ok()) << status;
  }

  const grpc::Slice slice;
  int64_t charged = 0;  // beside its bytes
  ReceivedRequest message{ReceivedRequest::Form::kUnary};
};

struct Measured {
  int64_t said = 0;        // of memory, for one worker
  int64_t charged = 0;     // before, with the message
  int64_t per_worker = 0;  // of that, what another worker would add
  int64_t scratch = 0;     // of that, a worker's own, at most
  int64_t held = 0;        // when the reply is ready
};

// What a plan for so many workers says.
Cost SaidFor(const Case& tested, int threads) {
  const auto catalog = CatalogWith(tested.stored);
  Received received(tested.request);
  ComputeReply reply(received.message.arena());
  const auto plan = PlanForward(received.message, *catalog, {}, threads, reply);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return plan.ok() ? (*plan)->cost() : Cost();
}

// Runs a request on this thread.
Measured RunOnce(const Case& tested) {
  const auto catalog = CatalogWith(tested.stored);
  Received received(tested.request);
  BufferPool buffers(INT64_MAX, NoLimit(), std::chrono::hours(1));
  Measured run;
  const Cost one = SaidFor(tested, 1);
  run.said = HeldOf(one);
  run.charged = received.charged;
  run.per_worker = HeldOf(SaidFor(tested, 2)) - HeldOf(one);
  run.scratch = one.in_one_task ? one.held_workspace : run.per_worker;
  grpc::ByteBuffer bytes;
  {
    core::Workspace workspace;
    const int64_t before = memory::AllocatedBytes();
    {
      ComputeReply reply(received.message.arena());
      auto plan = PlanForward(received.message, *catalog, {}, 1, reply);
      EXPECT_TRUE(plan.ok()) << plan.status();
      if (!plan.ok()) return run;
      const memory::Ledger& ledger = NoLimit();
      constexpr auto kConverted = memory::Kind::kConvertedWeights;
      const int64_t converted = ledger.held(kConverted);
      EXPECT_TRUE((*plan)->Allocate(buffers).ok());
      // What a weight set takes to be converted is its own to say.
      run.said += ledger.held(kConverted) - converted;
      const core::Computation steps = (*plan)->Steps();
      const absl::Status status = core::RunInline(steps, nullptr, workspace);
      EXPECT_TRUE(status.ok()) << status;
      (*plan)->Conclude({});
      bytes = Serialize(std::move(reply));
      run.held = memory::AllocatedBytes() - before;
    }
    bytes.Clear();
  }
  return run;
}

// The most that the text of top_k's indices is said to take: of each 2 bytes,
// since fewer than 2^13 keys are asked about, and twice.
int64_t IndexText(const Request& request) {
  if (!request.has_top_k()) return 0;
  const auto& query = request.query().shape();
  const auto rows = query[query.size() - 2] * query[0];
  const int64_t heads = request.has_num_heads()
                            ? request.num_heads()
                            : std::max(request.weights().num_heads(), 9);
  return 4 * rows * heads * request.top_k();
}

TEST(PlanMemory, IsWhatIsTaken) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    Dice dice(seed);
    const Case tested = RandomCase(dice);
    RunOnce(tested);  // libraries keep what their first use took
    const Measured run = RunOnce(tested);
    SCOPED_TRACE(absl::StrCat("seed ", seed, ": ", run.said, " said, ",
                              run.per_worker, " of a worker, ", run.held,
                              " held"));
    EXPECT_LE(run.held,
              run.said + run.charged + kUncounted +
                  std::max<int64_t>(0, kSmallestWorkspace - run.per_worker));
    // Nothing is said that is not taken, but for a worker's scratch memory,
    // which a tile may need whose numbers leave the range on the way
    // (workspace_bytes_test),
    // and the text of indices, which is there twice for a moment only, and
    // shorter where the index is.
    EXPECT_GE(run.held, run.said - run.scratch - IndexText(tested.request));
    if (HasFailure()) return;
  }
}

TEST(PlanMemory, GrowsByTheSameWithEveryWorker) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Dice dice(seed);
    const Case tested = RandomCase(dice);
    std::vector<int64_t> said;
    for (const int threads : {1, 2, 3, 64}) {
      said.push_back(SaidFor(tested, threads).workspace_bytes);
    }
    const int64_t worker = said[1] - said[0];
    // Work of one task is one worker's.
    EXPECT_EQ(worker == 0, SaidFor(tested, 1).in_one_task);
    EXPECT_EQ(said[2] - said[1], worker);
    EXPECT_EQ(said[3] - said[2], 61 * worker);
  }
}

TEST(PlanMemory, OptionsAreRefusedBeforeAnythingIsAllocated) {
  Request request;
  *request.mutable_query() = Zeros(v1::DATA_TYPE_FLOAT16, {2000, 1000});
  request.set_softcap(-1);
  const auto catalog = CatalogWith({});
  Received received(request);
  const int64_t before = memory::AllocatedBytes();
  ComputeReply reply(received.message.arena());
  const auto plan = PlanForward(received.message, *catalog, {}, 1, reply);
  EXPECT_FALSE(plan.ok());
  EXPECT_LT(memory::AllocatedBytes() - before, kUncounted);
}

}  // namespace
}  // namespace attention::rpc
