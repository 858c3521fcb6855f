// What only one process can have.
#ifndef SERVER_RESERVATION_H_
#define SERVER_RESERVATION_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "server/config.h"
#include "server/listener/listening_socket.h"
#include "server/weights/file_lock.h"

namespace attention::server {

// Sockets that are bound, and the store's lock. Taken before anything that
// takes time, so that who cannot have them is told at once, and kept when this
// program starts itself anew for OpenBLAS. Connections wait in the sockets'
// backlogs meanwhile.
struct Reservation {
  // For each address of the config those that it stands for.
  std::vector<std::vector<ListeningSocket>> sockets;
  // Null of a store in memory.
  std::unique_ptr<weights::FileLock> store_lock;
};

// Takes over what LeaveToNextStart left this process, or else takes anew; what
// was left and does not fit the config is let go. Errors are LockStore's, and
// Listen's with the address.
absl::StatusOr<Reservation> Reserve(const Config& config);

// Makes the descriptors outlast exec and puts their numbers in the environment,
// from where Reserve takes them. To be called right before exec, so that no
// other program is started with them.
void LeaveToNextStart(const Reservation& reservation);

}  // namespace attention::server

#endif  // SERVER_RESERVATION_H_
