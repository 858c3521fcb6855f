// Names of CLI11's, whose header takes three seconds to read, for headers that
// only pass them on.
#ifndef COMMAND_LINE_CLI_FWD_H_
#define COMMAND_LINE_CLI_FWD_H_

namespace CLI {
class App;
class Option;
}  // namespace CLI

#endif  // COMMAND_LINE_CLI_FWD_H_
