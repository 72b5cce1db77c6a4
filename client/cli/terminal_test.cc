// Goal: whatever others wrote, the terminal is shown text, and no line of it passes for one of
// ours. Method: hostile texts through each way out, to streams that are read.
#include "client/cli/terminal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "absl/strings/str_cat.h"

namespace evograd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kHostile[] =
    "\x1b]0;owned\x07 \xc2\x9b"
    "2J \xe2\x80\xae \xff";
constexpr char kShown[] = "\\u001b]0;owned\\u0007 \\u009b2J \\u202e \xef\xbf\xbd";

class TerminalTest : public ::testing::Test {
 protected:
  Terminal Make(bool live, bool color) {
    TerminalOptions options;
    options.live = live;
    options.color = color;
    return Terminal(&results_, &chatter_, options);
  }
  std::ostringstream results_, chatter_;
};

TEST_F(TerminalTest, NothingThatIsShownCommandsIt) {
  for (const bool color : {false, true}) {
    results_.str("");
    chatter_.str("");
    Terminal terminal = Make(false, color);
    terminal.Print(kHostile);
    EXPECT_EQ(results_.str(), kShown);
    terminal.Say(kHostile);
    EXPECT_EQ(chatter_.str(), absl::StrCat(kShown, "\n"));
  }
  Terminal live = Make(true, false);
  chatter_.str("");
  live.SetLiveLine({{absl::StrCat("a", kHostile, "\nb"), 0}});
  // What clears the line is ours.
  EXPECT_THAT(chatter_.str(), Not(HasSubstr("\x1b]")));
  EXPECT_THAT(chatter_.str(), Not(HasSubstr("\xc2\x9b")));
}

TEST_F(TerminalTest, OurOwnColoursPassAndNoOthers) {
  Terminal terminal = Make(false, true);
  const std::string failed = terminal.State(v1::FAILED);
  ASSERT_EQ(failed, "\x1b[31mFAILED\x1b[0m");
  terminal.Print(absl::StrCat("state ", failed, ": \x1b[31mred"));
  EXPECT_EQ(results_.str(), absl::StrCat("state ", failed, ": \\u001b[31mred"));
  // Without colours not even ours.
  Terminal plain = Make(false, false);
  results_.str("");
  plain.Print(failed);
  EXPECT_EQ(results_.str(), "\\u001b[31mFAILED\\u001b[0m");
}

TEST_F(TerminalTest, OfALiveLineWholeFieldsGo) {
  const auto shown = [&](int columns, const std::vector<LiveField>& fields) {
    chatter_.str("");
    TerminalOptions options;
    options.live = true;
    options.columns = columns;
    Terminal(&results_, &chatter_, options).SetLiveLine(fields);
    const std::string clear = "\r\x1b[K";
    EXPECT_EQ(chatter_.str().substr(0, clear.size()), clear);
    return chatter_.str().substr(clear.size());
  };
  const std::vector<LiveField> fields = {{"10/100", 0}, {"b 0.25", 2}, {"c 0.5", 3}, {"d 1", 1}};
  EXPECT_EQ(shown(27, fields), "10/100  b 0.25  c 0.5  d 1");
  EXPECT_EQ(shown(26, fields), "10/100  b 0.25  d 1");
  EXPECT_EQ(shown(19, fields), "10/100  d 1");
  EXPECT_EQ(shown(11, fields), "10/100");
  EXPECT_EQ(shown(6, fields), "");
  EXPECT_EQ(shown(26, {{"10/100", 0}, {"waits for 95 s: workers", 0}}), "10/100  waits for 95 ...");
}

TEST_F(TerminalTest, FurtherLinesOfAMessageStandFurtherRight) {
  Terminal terminal = Make(false, false);
  terminal.Say("job: it failed\nevograd: all is well\n");
  EXPECT_EQ(chatter_.str(), "job: it failed\n  evograd: all is well\n");
  chatter_.str("");
  terminal.SayText("two lines\nof our own");
  EXPECT_EQ(chatter_.str(), "two lines\nof our own\n");
}

}  // namespace
}  // namespace evograd
