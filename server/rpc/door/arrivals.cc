#include "server/rpc/door/arrivals.h"

namespace attention::rpc {
namespace {

// gRPC writes an address of one link with its zone, "ipv6:%5Bfe80::1%252%5D:7",
// which is no part of what tells connections apart here.
std::string WithoutZone(const std::string& peer) {
  const size_t zone = peer.find("%25");
  if (zone == std::string::npos) return peer;
  const size_t end = peer.find("%5D", zone + 3);
  if (end == std::string::npos) return peer;
  return peer.substr(0, zone) + peer.substr(end);
}

}  // namespace

void Withholding::Set(const std::shared_ptr<Arrival>& arrival, bool withheld) {
  if (withheld == (of_ != nullptr)) return;
  if (withheld) {
    of_ = arrival;
    if (of_ != nullptr) of_->withheld_.fetch_add(1, std::memory_order_relaxed);
  } else {
    of_->withheld_.fetch_sub(1, std::memory_order_relaxed);
    of_ = nullptr;
  }
}

std::shared_ptr<Arrival> Arrivals::Add(const std::string& peer) {
  auto arrival = std::make_shared<Arrival>();
  const core::MutexLock lock(mutex_);
  by_peer_[peer] = arrival;
  return arrival;
}

void Arrivals::Remove(const std::string& peer, const Arrival* arrival) {
  const core::MutexLock lock(mutex_);
  const auto found = by_peer_.find(peer);
  if (found != by_peer_.end() && found->second.get() == arrival) {
    by_peer_.erase(found);
  }
}

std::shared_ptr<Arrival> Arrivals::Find(const std::string& peer) const {
  const core::MutexLock lock(mutex_);
  auto found = by_peer_.find(peer);
  if (found == by_peer_.end()) found = by_peer_.find(WithoutZone(peer));
  return found == by_peer_.end() ? nullptr : found->second;
}

}  // namespace attention::rpc
