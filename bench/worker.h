// A program of benchmarks that a driver can ask one measurement at a time, so
// that it can take turns with other programs.
#ifndef BENCH_WORKER_H_
#define BENCH_WORKER_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace attention::bench {

using Arguments = std::vector<std::string>;

// Numbers or text that answer one line.
struct Answer {
  std::vector<double> numbers;
  std::string text;
};

// What a program can be asked beside its benchmarks, by name. May throw
// std::exception, whose text is the answer then.
using Commands = std::map<std::string, std::function<Answer(const Arguments&)>>;

// Runs the registered benchmarks as Google Benchmark does. With --serve as an
// argument: reads lines from standard input until it ends and answers each with
// one line on standard output.
//
//   time NAME SECONDS     runs one benchmark for about that long; answers
//                         "ok SECONDS-PER-ITERATION ITEMS-PER-SECOND
//                         CPU-SECONDS-PER-ITERATION"; the last is of the whole
//                         process where a benchmark says MeasureProcessCPUTime,
//                         else of the thread
//   COMMAND ARGUMENT...   answers "ok NUMBER... TEXT"
//
// or "error TEXT". Returns the exit code. `argv` must be without the program's
// own flags.
int RunWorker(int argc, char** argv, const Commands& commands);

}  // namespace attention::bench

#endif  // BENCH_WORKER_H_
