#include "server/scheduling.h"

#include <sched.h>

namespace attention::server {

void PreferThroughput() {
  if (sched_getscheduler(0) != SCHED_OTHER) return;
  const sched_param priority{};
  sched_setscheduler(0, SCHED_BATCH, &priority);
}

}  // namespace attention::server
