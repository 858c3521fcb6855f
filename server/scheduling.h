// How the kernel shares processors among the threads of this process.
#ifndef SERVER_SCHEDULING_H_
#define SERVER_SCHEDULING_H_

namespace attention::server {

// Asks that a thread which is woken waits for the one that runs, rather than
// interrupt it (SCHED_BATCH): those who wake each other in a server are parts
// of the same work. Of the calling thread and those it will start; leaves a
// policy that somebody has chosen, such as by chrt(1), and does nothing where
// the kernel refuses. docs/adr/0016-batch-scheduling.md.
void PreferThroughput();

}  // namespace attention::server

#endif  // SERVER_SCHEDULING_H_
