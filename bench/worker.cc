#include "bench/worker.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <iomanip>
#include <iostream>
#include <iterator>
#include <sstream>
#include <stdexcept>

namespace attention::bench {
namespace {

// Keeps what the library measured instead of printing it.
class Keeper : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    runs_.insert(runs_.end(), runs.begin(), runs.end());
  }
  const std::vector<Run>& runs() const { return runs_; }

 private:
  std::vector<Run> runs_;
};

// One benchmark, run anew by the library, which finds the iterations.
Answer Time(const Arguments& arguments) {
  if (arguments.size() != 2) throw std::runtime_error("time NAME SECONDS");
  // The library takes its settings from flags only.
  std::string program = "worker";
  std::string min_time = "--benchmark_min_time=" + arguments[1];
  char* argv[] = {program.data(), min_time.data()};
  int argc = 2;
  benchmark::Initialize(&argc, argv);
  Keeper keeper;
  benchmark::RunSpecifiedBenchmarks(
      &keeper, "^" + arguments[0] + "(/process_time)?(/real_time)?$");
  if (keeper.runs().size() != 1) {
    throw std::runtime_error("no benchmark " + arguments[0]);
  }
  const auto& run = keeper.runs().front();
  if (run.error_occurred) throw std::runtime_error(run.error_message);
  const auto iterations = static_cast<double>(run.iterations);
  const double seconds = run.real_accumulated_time / iterations;
  const auto rate = run.counters.find("items_per_second");
  return {
      {seconds, rate == run.counters.end() ? 1 / seconds : rate->second.value,
       run.cpu_accumulated_time / iterations},
      ""};
}

std::string AnswerTo(const std::string& line, const Commands& commands) {
  std::istringstream words(line);
  std::string name;
  words >> name;
  const Arguments arguments{std::istream_iterator<std::string>(words), {}};
  std::ostringstream reply;
  reply << std::setprecision(17);
  try {
    const auto command = commands.find(name);
    if (name != "time" && command == commands.end()) {
      throw std::runtime_error("no command " + name);
    }
    const Answer answer =
        name == "time" ? Time(arguments) : command->second(arguments);
    reply << "ok";
    for (const double number : answer.numbers) reply << ' ' << number;
    if (!answer.text.empty()) reply << ' ' << answer.text;
  } catch (const std::exception& e) {
    reply.str("");
    reply << "error " << e.what();
  }
  std::string text = reply.str();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

}  // namespace

int RunWorker(int argc, char** argv, const Commands& commands) {
  bool serve = false;
  for (int i = 1; i < argc; ++i) {
    serve = serve || std::strcmp(argv[i], "--serve") == 0;
  }
  if (serve) {
    std::string line;
    while (std::getline(std::cin, line)) {
      std::cout << AnswerTo(line, commands) << '\n' << std::flush;
    }
    return 0;
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace attention::bench
