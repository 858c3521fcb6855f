#include "server/config.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <limits>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "command_line/generate.h"
#include "command_line/help_text.h"
#include "command_line/seconds.h"
#include "server/version.h"
#include "server/ways_in.h"

namespace attention::server {
namespace {

constexpr char kName[] = "attention-server";

constexpr char kFooter[] =
    R"(Sizes take KiB, MiB and GiB; times take s and ms.

Each flag is also an environment variable and a key of the --config file. A flag
wins over the environment, the environment over the file.

SIGTERM and SIGINT stop the server. It turns NOT_SERVING and takes no more
connections; those it has are served until they have left, which takes
--max-connection-age, or --drain-delay is over. Calls then get --shutdown-grace:
new ones are let in during its first half if calls are still open, and answered
UNAVAILABLE afterwards; what is in flight at the end is cancelled. A second
signal ends the waiting. SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 do nothing.

Exit codes:
  0  stopped by a signal
  1  it cannot serve: the address is taken, or the matrix library is at fault
  2  the command line, the environment or the --config file is at fault

Examples:
  attention-server
  attention-server --listen 127.0.0.1:0 --port-file port --log-level debug
  attention-server --max-message-bytes 256MiB --print-config)";

std::string EnvironmentName(const std::string& flag) {
  return absl::StrCat("ATTENTION_", absl::AsciiStrToUpper(absl::StrReplaceAll(
                                        flag, {{"-", "_"}})));
}

// Of flags that are bytes or multiply-adds: more than anybody has.
constexpr int64_t kAny = int64_t{1} << 60;

// Of flags that are times, in seconds. gRPC counts them in milliseconds, which
// an int holds for 24 days.
constexpr double kMillisecond = 0.001;
constexpr double kDay = 86400;
constexpr double kLongest = 24 * kDay;

// Without the text it would add to each flag's line of --help.
CLI::Validator Quiet(const CLI::Validator& validator) {
  return validator.description("");
}

// The flags, bound to a config.
class Flags {
 public:
  Flags()
      : app_("Computes attention and keeps versioned weight sets, over gRPC.",
             kName) {
    app_.formatter(std::make_shared<command_line::HelpFormatter>());
    app_.set_help_flag("-h,--help", "Print this and exit");
    app_.set_version_flag("--version", absl::StrCat(kName, " ", kVersion),
                          "Print the version and exit");
    app_.add_flag("--print-config", print_config_,
                  "Print the settings in force, as a config file, and exit")
        ->configurable(false);
    app_.add_option("--generate", generate_)
        ->check(CLI::IsMember(command_line::ArtifactWords()))
        ->group("")  // hidden: for the build
        ->configurable(false);
    AddConfigFile();
    AddServing();
    AddLimits();
    AddConnectionLimits();
    app_.footer(kFooter);
  }
  Flags(const Flags&) = delete;
  Flags& operator=(const Flags&) = delete;

  CLI::App& app() { return app_; }
  Config& config() { return config_; }
  bool print_config() const { return print_config_; }
  // What to make of the command line itself; empty: nothing.
  const std::string& generate() const { return generate_; }
  // Names of what the environment may set, without dashes.
  const std::vector<std::string>& names() const { return names_; }

  // From here on a default that is a place in this user's home is told as one
  // in anyone's, since help is read by others than who made it.
  void DescribeForAnyone() {
    app_.get_option("--store")->default_str(
        "sqlite:~/.local/state/attention-service/weights.db");
  }

 private:
  // Takes the last of several, so that a flag can follow its own environment
  // variable.
  CLI::Option* Common(CLI::Option* option, const std::string& name) {
    names_.push_back(name);
    return option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast)
        ->envname(EnvironmentName(name));
  }

  template <typename T>
  CLI::Option* Add(const std::string& name, T& target,
                   const std::string& description) {
    return Common(app_.add_option("--" + name, target, description)
                      ->capture_default_str(),
                  name);
  }

  void AddConfigFile() {
    Common(app_.set_config("--config", "", "Read settings from this file"),
           "config")
        ->type_name("FILE");
    app_.allow_config_extras(CLI::config_extras_mode::error);
  }

  void AddServing() {
    config_.store = DefaultStore();
    Add("listen", config_.listen,
        "HOST:PORT to listen on; port 0 picks a free one. unix:PATH is a Unix "
        "socket, for its owner only and without TLS. Several are given one by "
        "one, or between commas")
        ->type_name("ADDRESS")
        ->delimiter(',')
        ->allow_extra_args(false);
    Common(app_.add_flag("--insecure", config_.insecure,
                         "Allow an address that other machines can reach, "
                         "without TLS and authentication"),
           "insecure");
    AddTls();
    Add("port-file", config_.port_file,
        "Write the port to this file once it is open, remove the file at the "
        "end")
        ->type_name("FILE");
    Add("store", config_.store,
        "Where weight sets are kept: sqlite:PATH, a file that one server at a "
        "time may use, or memory, which ends with the process. The default is "
        "in $XDG_STATE_HOME or ~/.local/state; only its folders are made")
        ->type_name("STORE");
    Add("threads", config_.threads,
        "Threads that compute; 0 = the CPUs this process may use, by affinity "
        "and cgroup quota")
        ->check(Quiet(CLI::Range(0, 1024)));
    AddTime("drain-delay", config_.drain_delay_seconds,
            "Seconds that open connections get to leave after SIGTERM, while "
            "everything on them is served; more than --max-connection-age and "
            "a tenth, or they cannot",
            0, kDay);
    AddTime("shutdown-grace", config_.shutdown_grace_seconds,
            "Seconds that calls in flight get to finish after that", 0, kDay);
    Add("log-level", config_.log_level,
        "Least serious line that is logged: each call that was answered OK is "
        "a line at debug, each refusal at info")
        ->check(
            CLI::IsMember({"trace", "debug", "info", "warn", "error", "off"}));
  }

  void AddTls() {
    Add("tls-cert", config_.tls.cert,
        "Speak TLS with this certificate (PEM), followed by those up to its "
        "CA's")
        ->type_name("FILE");
    Add("tls-key", config_.tls.key, "The private key of --tls-cert (PEM)")
        ->type_name("FILE");
    Add("tls-client-ca", config_.tls.client_ca,
        "Answer only clients whose certificate comes from these authorities "
        "(PEM)")
        ->type_name("FILE");
  }

  template <typename T>
  void AddSize(const std::string& name, T& target,
               const std::string& description, int64_t largest) {
    Add(name, target, description)
        ->transform(Quiet(CLI::AsSizeValue(/*kb_is_1000=*/false)))
        ->type_name("SIZE")
        ->check(Quiet(CLI::Range(int64_t{1}, largest)));
  }

  // A size whose default, 0, stands for one that the server works out.
  void AddOwnSize(const std::string& name, int64_t& target,
                  const std::string& description) {
    Add(name, target, description)
        ->transform(Quiet(CLI::AsSizeValue(/*kb_is_1000=*/false)))
        ->type_name("SIZE")
        ->check(Quiet(CLI::Range(int64_t{0}, kAny)));
  }

  template <typename T>
  void AddCount(const std::string& name, T& target,
                const std::string& description, int64_t largest) {
    Add(name, target, description)
        ->check(Quiet(CLI::Range(int64_t{1}, largest)));
  }

  void AddTime(const std::string& name, double& target,
               const std::string& description, double least, double most) {
    Add(name, target, description)
        ->transform(command_line::AsSeconds())
        ->type_name("SECONDS")
        ->check(Quiet(CLI::Range(least, most)));
  }

  void AddLimits() {
    // Protobuf's messages end below 2 GiB.
    constexpr int64_t kMessage = (int64_t{2} << 30) - (int64_t{1} << 20);
    rpc::Limits& limits = config_.limits;
    AddSize("max-message-bytes", limits.max_message_bytes,
            "Bytes of one request message", kMessage);
    AddSize("max-result-bytes", limits.max_result_bytes,
            "Bytes of one reply's tensors", kMessage);
    AddSize("max-workspace-bytes", limits.max_workspace_bytes,
            "Bytes of temporary memory one request may need", kAny);
    AddCount("max-multiply-adds", limits.max_multiply_adds,
             "Multiply-adds one request may need", kAny);
    AddCount("max-axis", limits.max_axis, "Elements along one axis of a tensor",
             int64_t{1} << 31);
    AddCount("max-requests-in-flight", limits.max_requests_in_flight,
             "Requests held at one time", std::numeric_limits<int32_t>::max());
    AddOwnSize(
        "memory-limit", limits.memory_limit,
        "Bytes the server may hold: messages, temporary memory, "
        "replies, uploads and weight sets; an eighth is never lent. 0 is "
        "the smallest of what the container allows less 128MiB, the "
        "limit of address space less 512MiB, and the machine's memory");
    AddCount("max-stream-in-flight", limits.max_stream_in_flight,
             "Requests one StreamAttention may have under way; it is not read "
             "on while it has that many",
             std::numeric_limits<int32_t>::max());
    AddCount("max-open-streams", limits.max_open_streams,
             "StreamAttention, UploadWeights and GetWeights that are open at "
             "one time; of watches of health and streams of reflection as many "
             "each",
             std::numeric_limits<int32_t>::max());
    AddTime("max-stream-idle", limits.max_stream_idle_seconds,
            "Seconds for which a StreamAttention may bring nothing, or not be "
            "read, before it is ended",
            kMillisecond, kLongest);
    AddSize("max-weight-set-bytes", limits.max_weight_set_bytes,
            "Bytes of all tensors of one weight set that UploadWeights brings",
            kAny);
    AddTime("max-transfer-idle", limits.max_transfer_idle_seconds,
            "Seconds in which an UploadWeights has to bring 1 MiB, and a "
            "GetWeights to be read on, or it is ended",
            kMillisecond, kDay);
  }

  void AddConnectionLimits() {
    rpc::ConnectionLimits& limits = config_.limits.connections;
    Add("max-connections", limits.max_connections,
        "Connections open at one time: for one beyond, the one that has been "
        "silent for longest is closed, of the address with most. 0 is what the "
        "limit of open files allows, 10000 at most")
        ->type_name("COUNT")
        ->check(Quiet(CLI::Range(0, 1'000'000)));
    AddSize("max-header-bytes", limits.max_header_bytes,
            "Bytes of one call's headers; one with more ends its connection, "
            "with every call on it",
            int64_t{64} << 20);
    AddCount("max-streams-per-connection", limits.max_streams_per_connection,
             "Calls open on one connection; clients wait with the next one",
             std::numeric_limits<int32_t>::max());
    AddTime("max-connection-age", limits.max_connection_age_seconds,
            "Seconds, give or take a tenth, after which a connection's client "
            "is told to open another one for new calls; those on it go on",
            kMillisecond, kLongest);
    AddTime("max-connection-idle", limits.max_connection_idle_seconds,
            "Seconds without a call after which a connection is closed",
            kMillisecond, kLongest);
    AddTime("handshake-timeout", limits.handshake_timeout_seconds,
            "Seconds that a new connection has for TLS and HTTP/2's first "
            "words",
            kMillisecond, kDay);
    AddTime("min-ping-interval", limits.min_ping_interval_seconds,
            "Seconds between two pings; a client that sends several closer to "
            "each other loses its connection",
            kMillisecond, kDay);
    AddCount("max-broken-calls", limits.max_broken_calls,
             "Calls of one connection that may end in a second before their "
             "message has come; beyond it the connection is ended",
             std::numeric_limits<int32_t>::max());
    AddOwnSize("max-arriving-bytes", config_.limits.max_arriving_bytes,
               "Bytes one connection may have sent that belong to no complete "
               "call; beyond it the connection is ended. 0 is four messages "
               "and at least 128MiB, but at most a quarter of --memory-limit");
    AddTime("receive-idle", config_.limits.receive_idle_seconds,
            "Seconds in which a half-sent message has to go on, or its "
            "connection is ended",
            kMillisecond, kDay);
  }

  CLI::App app_;
  Config config_;
  bool print_config_ = false;
  std::string generate_;
  std::vector<std::string> names_;
};

// CLI11 takes arguments in reverse.
void Parse(std::vector<std::string> arguments, Flags& flags) {
  std::reverse(arguments.begin(), arguments.end());
  flags.app().parse(std::move(arguments));
}

absl::Status CheckTogether(Config& config) {
  absl::Status tls = CheckTls(config.tls, config.insecure);
  if (!tls.ok()) return tls;
  absl::StatusOr<std::vector<ListenAddress>> addresses = CheckListen(
      config.listen, config.tls, config.insecure, !config.port_file.empty());
  if (!addresses.ok()) return addresses.status();
  config.addresses = *std::move(addresses);
  absl::StatusOr<StoreLocation> store = ParseStoreLocation(config.store);
  if (!store.ok()) return store.status();
  config.store_location = *std::move(store);
  return absl::OkStatus();
}

CommandLine Refuse(absl::string_view why) {
  CommandLine refused;
  refused.exit_code = 2;
  refused.error = absl::StrCat(kName, ": ", why, " (see --help)\n");
  return refused;
}

// The man page, completion or JSON of the command line.
std::string Generated(Flags& flags) {
  flags.DescribeForAnyone();
  std::string text;
  for (const auto& [name, content] : command_line::Generate(
           command_line::ReadCommand(flags.app()),
           command_line::ArtifactWords().at(flags.generate()),
           {absl::StrCat(kName, " ", kVersion), {"attention"}})) {
    absl::StrAppend(&text, content);
  }
  return text;
}

// Environment variables as flags. Each is tried alone first, so that an error
// can name it.
absl::StatusOr<std::vector<std::string>> FromEnvironment(const Flags& flags) {
  std::vector<std::string> arguments;
  for (const std::string& name : flags.names()) {
    const std::string variable = EnvironmentName(name);
    const char* const value = std::getenv(variable.c_str());
    if (value == nullptr || *value == '\0') continue;
    arguments.push_back(absl::StrCat("--", name, "=", value));
    Flags alone;
    try {
      Parse({arguments.back()}, alone);
    } catch (const CLI::ParseError& error) {
      return absl::InvalidArgumentError(
          absl::StrCat(variable, "=", value, ": ", error.what()));
    }
  }
  return arguments;
}

}  // namespace

CommandLine ParseCommandLine(int argc, const char* const* argv) {
  Flags flags;
  absl::StatusOr<std::vector<std::string>> arguments = FromEnvironment(flags);
  if (!arguments.ok()) return Refuse(arguments.status().message());
  arguments->insert(arguments->end(), argv + std::min(argc, 1), argv + argc);
  CommandLine line;
  try {
    Parse(*std::move(arguments), flags);
  } catch (const CLI::CallForHelp&) {
    flags.DescribeForAnyone();
    line.output = flags.app().help();
    return line;
  } catch (const CLI::CallForVersion& version) {
    line.output = absl::StrCat(version.what(), "\n");
    return line;
  } catch (const CLI::ParseError& error) {
    return Refuse(error.what());
  }
  if (!flags.generate().empty()) {
    line.output = Generated(flags);
    return line;
  }
  if (absl::Status status = CheckTogether(flags.config()); !status.ok()) {
    return Refuse(status.message());
  }
  if (flags.print_config()) {
    line.output = flags.app().config_to_str(/*default_also=*/true,
                                            /*write_description=*/true);
    return line;
  }
  line.config = flags.config();
  return line;
}

}  // namespace attention::server
