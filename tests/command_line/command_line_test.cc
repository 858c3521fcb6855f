// A command line as data, and what is made of it.
#include "command_line/command.h"

#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "command_line/bash_completion.h"
#include "command_line/help_text.h"
#include "command_line/man_page.h"
#include "command_line/wrap.h"
#include "command_line/zsh_completion.h"
#include "gmock/gmock.h"

namespace attention::command_line {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class CommandTest : public ::testing::Test {
 protected:
  CommandTest() {
    app_.add_option("--target", text_, "where it is")
        ->envname("TARGET")
        ->type_name("HOST:PORT");
    command_->add_option("name", text_, "what it is called")
        ->type_name("NAME")
        ->required();
  }

  Command Read() const { return ReadCommand(app_); }
  const Flag& LastFlag() {
    read_ = ReadCommand(*command_);
    return read_.flags.back();
  }

  CLI::App app_{"Does things", "tool"};
  CLI::App* command_ = app_.add_subcommand("make", "Makes a thing");
  std::string text_;
  int number_ = 0;
  bool all_ = false;
  Command read_;
};

TEST_F(CommandTest, TreeHasPathsAndUsage) {
  const Command tool = Read();
  EXPECT_EQ(Usage(tool), "tool [FLAGS] [COMMAND]");
  ASSERT_EQ(tool.commands.size(), 1u);
  EXPECT_THAT(tool.commands[0].path, ElementsAre("tool", "make"));
  EXPECT_EQ(Usage(tool.commands[0]), "tool make [FLAGS] NAME");
  ASSERT_EQ(tool.commands[0].inherited.size(), 1u);
  EXPECT_THAT(tool.commands[0].inherited[0].names, ElementsAre("--target"));
}

TEST_F(CommandTest, WhatHasNoGroupIsLeftOut) {
  app_.add_subcommand("secret", "Does a hidden thing")->group("");
  command_->add_flag("--secret", all_, "hidden")->group("");
  const Command tool = Read();
  EXPECT_EQ(tool.commands.size(), 1u);
  EXPECT_THAT(HelpText(tool.commands[0]), Not(HasSubstr("--secret")));
}

TEST_F(CommandTest, FlagTakesNothing) {
  command_->add_flag("--all", all_, "everything");
  EXPECT_EQ(LastFlag().kind, ValueKind::kNone);
  EXPECT_EQ(LastFlag().value, "");
}

TEST_F(CommandTest, ColonOfATypeIsNoValidator) {
  EXPECT_EQ(Read().flags.back().value, "HOST:PORT");
  EXPECT_THAT(Read().flags.back().notes, ElementsAre("environment: TARGET"));
}

TEST_F(CommandTest, RangesAreNotes) {
  command_->add_option("--count", number_, "how many")
      ->check(CLI::Range(1, 9))
      ->capture_default_str();
  EXPECT_EQ(LastFlag().value, "INT");
  EXPECT_THAT(LastFlag().notes, ElementsAre("1 to 9", "default: 0"));
  command_->add_option("--size", number_, "how much")
      ->check(CLI::PositiveNumber);
  EXPECT_THAT(LastFlag().notes, ElementsAre("more than 0"));
}

TEST_F(CommandTest, WordsOfAListAreChoices) {
  command_->add_option("--color", text_, "which")->type_name("red|dark-blue");
  EXPECT_EQ(LastFlag().kind, ValueKind::kChoice);
  EXPECT_THAT(LastFlag().choices, ElementsAre("red", "dark-blue"));
  command_->add_option("--level", text_, "which")
      ->check(CLI::IsMember({"low", "high"}));
  EXPECT_THAT(LastFlag().choices, ElementsAre("low", "high"));
  EXPECT_EQ(LastFlag().value, "low|high");
}

TEST_F(CommandTest, FilesAndDirectoriesAreKnownByTheirNames) {
  command_->add_option("--in", text_, "what")->type_name("FILE|-");
  EXPECT_EQ(LastFlag().kind, ValueKind::kFile);
  command_->add_option("--to", text_, "where")->type_name("DIR");
  EXPECT_EQ(LastFlag().kind, ValueKind::kDirectory);
  command_->add_option("--set", text_, "which")->type_name("NAME[@N|:LABEL]");
  EXPECT_EQ(LastFlag().kind, ValueKind::kText);
}

TEST_F(CommandTest, FooterHasParagraphsAndSections) {
  command_->footer(
      "One line\nand another.\n\nSecond.\n\nExamples:\n"
      "  tool make a \\\n      --all\n  tool make b");
  const Command make = ReadCommand(*command_);
  EXPECT_THAT(make.paragraphs, ElementsAre("One line and another.", "Second."));
  EXPECT_THAT(Examples(make), ElementsAre("tool make a --all", "tool make b"));
  EXPECT_THAT(HelpText(make),
              HasSubstr("\nExamples:\n  tool make a \\\n      --all\n"));
  EXPECT_THAT(Examples(Read()), IsEmpty());
}

TEST_F(CommandTest, HelpOfTheAppIsThatText) {
  CLI::App app("Does things", "tool");
  app.formatter(std::make_shared<HelpFormatter>());
  EXPECT_EQ(app.add_subcommand("make", "Makes a thing")->help(),
            "Makes a thing\n\nUsage: tool make [FLAGS]\n\nFlags:\n"
            "  -h, --help              Print this help message and exit\n");
}

TEST_F(CommandTest, RoffOfItsOwnIsEscaped) {
  command_->add_flag("--all", all_, ".everything in C:\\dir");
  const Command tool = Read();
  const std::string page = ManPage(tool.commands[0], tool, {"tool 1", {}});
  EXPECT_THAT(page, HasSubstr("\\fB\\-\\-all\\fR\n\\&.everything in C:\\edir"));
}

TEST_F(CommandTest, PagesShareTheSectionsOfTheRoot) {
  command_->footer("Examples:\n  tool make x");
  app_.footer("Exit codes:\n  0  done\n\nExamples:\n  tool");
  const Command tool = Read();
  const std::string page = ManPage(tool.commands[0], tool, {"tool 1", {}});
  EXPECT_THAT(page, HasSubstr(".SH \"EXIT CODES\"\n.nf\n0  done\n.fi\n"));
  EXPECT_THAT(page, HasSubstr(".SH \"EXAMPLES\"\n.nf\ntool make x\n.fi\n"));
  EXPECT_THAT(page, HasSubstr(".SH SEE ALSO\n.BR tool (1)\n"));
  EXPECT_THAT(ManPage(tool, tool, {"tool 1", {"other"}}),
              HasSubstr(".BR tool\\-make (1),\n.BR other (1)\n"));
}

TEST_F(CommandTest, ZshSpecificationsAreEscaped) {
  command_->add_option("--set", text_, "it's [a:b]")->type_name("NAME[@N]");
  EXPECT_THAT(ZshCompletion(Read()),
              HasSubstr(R"('--set=[it'\''s \[a\:b\]]:NAME\[@N\]: ')"));
}

TEST_F(CommandTest, BashKnowsWhichFlagsTakeAValue) {
  EXPECT_THAT(BashCompletion(Read()), HasSubstr("      --target)\n"));
}

TEST(WrapTest, LinesBreakAtBlanks) {
  const std::string word(30, 'w');
  EXPECT_EQ(Wrap(word + " " + word + " " + word),
            word + " " + word + "\n" + word);
  EXPECT_EQ(Wrap(word + " " + word, 40),
            word + "\n" + std::string(40, ' ') + word);
  EXPECT_EQ(Wrap(std::string(200, 'w')), std::string(200, 'w'));
  EXPECT_EQ(Wrap(""), "");
}

}  // namespace
}  // namespace attention::command_line
