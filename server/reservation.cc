#include "server/reservation.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "server/store_location.h"
#include "server/weights/sqlite_store.h"

namespace attention::server {
namespace {

// Between this program and itself: "PROCESS LOCK SOCKET,SOCKET SOCKET ...", a
// list for each address. It says which process, since one that is started with
// the variable of another has none of its descriptors.
constexpr char kVariable[] = "ATTENTION_SERVER_RESERVATION";
constexpr int kNone = -1;

void KeepOverExec(int fd, bool keep) {
  fcntl(fd, F_SETFD, keep ? 0 : FD_CLOEXEC);
}

// The parts of the variable, which is removed; nothing if there is none of this
// process.
std::optional<std::vector<std::string>> TakeVariable() {
  const char* const text = std::getenv(kVariable);
  if (text == nullptr) return std::nullopt;
  std::vector<std::string> parts = absl::StrSplit(text, ' ');
  unsetenv(kVariable);
  if (parts.size() < 2 || parts.front() != absl::StrCat(getpid())) {
    return std::nullopt;
  }
  parts.erase(parts.begin());
  return parts;
}

std::optional<std::vector<ListeningSocket>> TakeSockets(
    const std::string& text, const ListenAddress& address) {
  std::vector<ListeningSocket> sockets;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    int fd = kNone;
    if (!absl::SimpleAtoi(part, &fd)) return std::nullopt;
    std::optional<ListeningSocket> socket = ListeningSocket::Adopt(fd, address);
    if (!socket) return std::nullopt;
    KeepOverExec(fd, false);
    sockets.push_back(*std::move(socket));
  }
  return sockets;
}

// What this process left itself, if all of it fits the config.
std::optional<Reservation> TakeOver(const Config& config) {
  const auto parts = TakeVariable();
  if (!parts || parts->size() != 1 + config.addresses.size()) {
    return std::nullopt;
  }
  Reservation reservation;
  int lock = kNone;
  if (!absl::SimpleAtoi(parts->front(), &lock)) return std::nullopt;
  const std::string& store = config.store_location.sqlite_path;
  if (store.empty() != (lock == kNone)) return std::nullopt;
  if (!store.empty()) {
    auto adopted =
        weights::FileLock::Adopt(lock, weights::SqliteLockPath(store));
    if (!adopted.ok()) return std::nullopt;
    KeepOverExec(lock, false);
    reservation.store_lock = *std::move(adopted);
  }
  for (size_t i = 0; i < config.addresses.size(); ++i) {
    auto sockets = TakeSockets((*parts)[1 + i], config.addresses[i]);
    if (!sockets) return std::nullopt;
    reservation.sockets.push_back(*std::move(sockets));
  }
  return reservation;
}

}  // namespace

absl::StatusOr<Reservation> Reserve(const Config& config) {
  if (auto left = TakeOver(config)) return *std::move(left);
  Reservation reservation;
  auto lock = LockStore(config.store_location);
  if (!lock.ok()) return lock.status();
  reservation.store_lock = *std::move(lock);
  for (const ListenAddress& address : config.addresses) {
    auto bound = Listen(address);
    if (!bound.ok()) {
      return absl::Status(bound.status().code(),
                          absl::StrCat("cannot listen on ", address.text, ": ",
                                       bound.status().message()));
    }
    reservation.sockets.push_back(*std::move(bound));
  }
  return reservation;
}

void LeaveToNextStart(const Reservation& reservation) {
  const auto& lock = reservation.store_lock;
  if (lock != nullptr) KeepOverExec(lock->file(), true);
  std::string text =
      absl::StrCat(getpid(), " ", lock != nullptr ? lock->file() : kNone);
  for (const std::vector<ListeningSocket>& sockets : reservation.sockets) {
    std::vector<int> numbers;
    for (const ListeningSocket& socket : sockets) {
      KeepOverExec(socket.fd(), true);
      numbers.push_back(socket.fd());
    }
    absl::StrAppend(&text, " ", absl::StrJoin(numbers, ","));
  }
  setenv(kVariable, text.c_str(), /*replace=*/1);
}

}  // namespace attention::server
