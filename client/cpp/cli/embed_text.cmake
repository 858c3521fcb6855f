# Writes OUTPUT, a C++ source that defines attention::client::ChapterJson with
# the text of INPUT: cmake -DINPUT=... -DOUTPUT=... -P embed_text.cmake
file(READ "${INPUT}" text)
file(WRITE "${OUTPUT}" "// Generated from client/chapter.json.
#include \"client/cpp/cli/chapter.h\"

namespace attention::client {

const std::string& ChapterJson() {
  static const auto* text = new std::string(R\"chapter(${text})chapter\");
  return *text;
}

}  // namespace attention::client
")
