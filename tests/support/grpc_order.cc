// What ThreadSanitizer cannot see: that gRPC hands things from thread to
// thread.
//
// Debian's libraries are compiled without it, so what they order by atomics and
// locks of their own looks unordered, and what a reactor is told on one thread
// after another has started it would be a race. Linked into the tests of the
// tsan preset, this stands between those libraries and what they call, and
// tells it what gRPC promises, no more:
//
//   what starts an operation     comes before   what takes its tag
//   what sets an alarm           comes before   its callback
//   what starts a server         comes before   every event
//   what begins a call, as the
//   client, over the network     comes before   every event, the server's too
//   the reactions of a call      come before    OnDone
//   the ends of all calls        come before    the end of Shutdown
//   what makes a slice           comes before   what destroys it
//
// It is compiled without ThreadSanitizer itself. REQUIRES: gRPC 1.51.
#include <dlfcn.h>
#include <grpc/grpc.h>
#include <grpcpp/alarm.h>
#include <grpcpp/support/server_callback.h>
#include <sanitizer/tsan_interface.h>

#include <functional>
#include <thread>
#include <utility>

namespace {

// The library's own, of this mangled name.
template <typename Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

char server_started;
char call_begun;
char call_over;
// In Shutdown, on this thread. The last that it does is to destroy its queue.
thread_local bool shutting_down = false;

grpc_event Seen(grpc_event event) {
  if (event.type == GRPC_OP_COMPLETE) {
    __tsan_acquire(event.tag);
    __tsan_acquire(&server_started);
    __tsan_acquire(&call_begun);
  }
  return event;
}

// What a slice is made of.
struct Held {
  void (*destroy)(void*);
  void* of;
};

void Destroy(void* held) {
  __tsan_acquire(held);
  const Held slice = *static_cast<Held*>(held);
  delete static_cast<Held*>(held);
  slice.destroy(slice.of);
}

// OnDone and OnCancel are called on a thread of their own, as by gRPC, whose
// executor nobody else can see.
template <typename Reaction>
void OnAThreadOfItsOwn(Reaction reaction) {
  std::thread(std::move(reaction)).detach();
}

}  // namespace

extern "C" {

// Nor does it look at what those libraries do by themselves.
const char* __tsan_default_options() {
  return "ignore_noninstrumented_modules=1";
}

// What a reactor is told before gRPC has bound its call waits for that under an
// absl::Mutex of gRPC's, which it cannot see.
const char* __tsan_default_suppressions() { return "race:InternalBindCall\n"; }

grpc_call_error grpc_call_start_batch(grpc_call* call, const grpc_op* ops,
                                      size_t nops, void* tag, void* reserved) {
  static auto* const next =
      Next<decltype(grpc_call_start_batch)>("grpc_call_start_batch");
  __tsan_release(tag);
  return next(call, ops, nops, tag, reserved);
}

grpc_event grpc_completion_queue_next(grpc_completion_queue* queue,
                                      gpr_timespec deadline, void* reserved) {
  static auto* const next =
      Next<decltype(grpc_completion_queue_next)>("grpc_completion_queue_next");
  return Seen(next(queue, deadline, reserved));
}

grpc_event grpc_completion_queue_pluck(grpc_completion_queue* queue, void* tag,
                                       gpr_timespec deadline, void* reserved) {
  static auto* const next = Next<decltype(grpc_completion_queue_pluck)>(
      "grpc_completion_queue_pluck");
  return Seen(next(queue, tag, deadline, reserved));
}

void grpc_server_start(grpc_server* server) {
  static auto* const next =
      Next<decltype(grpc_server_start)>("grpc_server_start");
  __tsan_release(&server_started);
  next(server);
}

void grpc_server_shutdown_and_notify(grpc_server* server,
                                     grpc_completion_queue* queue, void* tag) {
  static auto* const next = Next<decltype(grpc_server_shutdown_and_notify)>(
      "grpc_server_shutdown_and_notify");
  shutting_down = true;
  next(server, queue, tag);
}

void grpc_completion_queue_destroy(grpc_completion_queue* queue) {
  static auto* const next = Next<decltype(grpc_completion_queue_destroy)>(
      "grpc_completion_queue_destroy");
  next(queue);
  if (std::exchange(shutting_down, false)) __tsan_acquire(&call_over);
}

grpc_call* grpc_channel_create_registered_call(
    grpc_channel* channel, grpc_call* parent, uint32_t propagation,
    grpc_completion_queue* queue, void* method, gpr_timespec deadline,
    void* reserved) {
  static auto* const next = Next<decltype(grpc_channel_create_registered_call)>(
      "grpc_channel_create_registered_call");
  __tsan_release(&call_begun);
  return next(channel, parent, propagation, queue, method, deadline, reserved);
}

grpc_call* grpc_channel_create_call(grpc_channel* channel, grpc_call* parent,
                                    uint32_t propagation,
                                    grpc_completion_queue* queue,
                                    grpc_slice method, const grpc_slice* host,
                                    gpr_timespec deadline, void* reserved) {
  static auto* const next =
      Next<decltype(grpc_channel_create_call)>("grpc_channel_create_call");
  __tsan_release(&call_begun);
  return next(channel, parent, propagation, queue, method, host, deadline,
              reserved);
}

void grpc_call_unref(grpc_call* call) {
  static auto* const next = Next<decltype(grpc_call_unref)>("grpc_call_unref");
  __tsan_release(&call_over);
  next(call);
}

grpc_slice grpc_slice_new_with_user_data(void* data, size_t bytes,
                                         void (*destroy)(void*), void* of) {
  static auto* const next = Next<decltype(grpc_slice_new_with_user_data)>(
      "grpc_slice_new_with_user_data");
  auto* const held = new Held{destroy, of};
  __tsan_release(held);
  return next(data, bytes, Destroy, held);
}

}  // extern "C"

namespace grpc {

void Alarm::SetInternal(gpr_timespec deadline,
                        std::function<void(bool)> callback) {
  using Set = void(Alarm*, gpr_timespec, std::function<void(bool)>);
  static auto* const next =
      Next<Set>("_ZN4grpc5Alarm11SetInternalE12gpr_timespecSt8functionIFvbEE");
  // By pointer, since gRPC copies what it is given on threads of its own.
  auto* const held = new std::function<void(bool)>(std::move(callback));
  __tsan_release(held);
  next(this, deadline, [held](bool due) {
    __tsan_acquire(held);
    (*held)(due);
    delete held;
  });
}

namespace internal {

void ServerCallbackCall::ScheduleOnDone(bool inline_ondone) {
  __tsan_acquire(&callbacks_outstanding_);
  if (inline_ondone) return CallOnDone();
  OnAThreadOfItsOwn([this] { CallOnDone(); });
}

void ServerCallbackCall::CallOnCancel(ServerReactor* reactor) {
  __tsan_acquire(&on_cancel_conditions_remaining_);
  if (reactor->InternalInlineable()) return reactor->OnCancel();
  Ref();
  OnAThreadOfItsOwn([this, reactor] {
    reactor->OnCancel();
    MaybeDone();
  });
}

}  // namespace internal
}  // namespace grpc
