// Goal: who is set aside is covered for as long, for what, and as repeatedly as the header says.
// Method: stories with times given by hand.

#include "server/core/set_aside.h"

#include "common/service_limits.h"
#include "gtest/gtest.h"

namespace evograd {
namespace {

const WorkerId kW1("w1");
const WorkerId kW2("w2");
const SetAside::Job kJob{"uid-a", "jobs/a"};

TEST(SetAside, CoversOneJobOrAny) {
  SetAside set_aside;
  set_aside.Add({kW1, "p"}, kJob, "cannot read /data", 0);
  EXPECT_TRUE(set_aside.Covers(kW1, "uid-a", 0));
  EXPECT_FALSE(set_aside.Covers(kW1, "uid-b", 0));
  EXPECT_FALSE(set_aside.Covers(kW2, "uid-a", 0));
  EXPECT_EQ(set_aside.Reason(kW1, 2500), "not used for jobs/a for 8 s: cannot read /data");
  set_aside.Add({kW1, "p"}, {}, "no such address", 0);
  EXPECT_TRUE(set_aside.Covers(kW1, "uid-b", 0));
  EXPECT_EQ(set_aside.Reason(kW1, 2500), "set aside for 8 s: no such address");
  EXPECT_EQ(set_aside.Reason(kW2, 0), "");
}

TEST(SetAside, EachRepetitionDoublesTheTimeUpToABound) {
  SetAside set_aside;
  int64_t now = 0;
  for (int64_t expected = limits::kSetAsideMinMs; expected < 100 * limits::kSetAsideMaxMs;
       expected *= 2) {
    const int64_t duration = std::min<int64_t>(expected, limits::kSetAsideMaxMs);
    set_aside.Add({kW1, "p"}, kJob, "again", now);
    EXPECT_EQ(set_aside.NextEnd(now), now + duration);
    EXPECT_TRUE(set_aside.Covers(kW1, "uid-a", now + duration - 1));
    EXPECT_FALSE(set_aside.Covers(kW1, "uid-a", now + duration));
    now += duration;
  }
  // Said again while it is set aside: no longer for that.
  set_aside.Add({kW2, "p"}, kJob, "first", now);
  set_aside.Add({kW2, "p"}, kJob, "second", now + 1);
  EXPECT_EQ(set_aside.NextEnd(now), now + limits::kSetAsideMinMs);
}

TEST(SetAside, WhoDidWellOrIsAnotherProcessStartsAfresh) {
  SetAside set_aside;
  set_aside.Add({kW1, "p"}, kJob, "once", 0);
  set_aside.DidWell(kW1, "uid-b");
  EXPECT_TRUE(set_aside.Covers(kW1, "uid-a", 0));
  set_aside.DidWell(kW1, "uid-a");
  EXPECT_FALSE(set_aside.Covers(kW1, "uid-a", 0));

  set_aside.Add({kW1, "p"}, kJob, "once", 0);
  set_aside.Connected({kW1, "p"});
  EXPECT_TRUE(set_aside.Covers(kW1, "uid-a", 0));
  set_aside.Connected({kW1, "q"});
  EXPECT_FALSE(set_aside.Covers(kW1, "uid-a", 0));

  set_aside.Add({kW1, "p"}, kJob, "once", 0);
  set_aside.ForgetJob("uid-a");
  EXPECT_TRUE(set_aside.empty());
}

TEST(SetAside, WhoIsLostASecondTimeIsSetAsideWhateverItsProcess) {
  SetAside set_aside;
  EXPECT_EQ(set_aside.Lost({kW1, "p"}, kJob, "exit", 0), 1);
  EXPECT_FALSE(set_aside.Covers(kW1, "uid-a", 0));
  EXPECT_EQ(set_aside.Lost({kW1, "q"}, kJob, "exit", 5), 2);
  set_aside.Connected({kW1, "r"});
  EXPECT_EQ(set_aside.Reason(kW1, 5),
            "not used for jobs/a for 10 s: it was lost 2 times before it had computed a step of "
            "the job; the last time: exit");
  const int64_t until = 5 + limits::kSetAsideMinMs;
  EXPECT_TRUE(set_aside.Covers(kW1, "uid-a", until - 1));
  EXPECT_EQ(set_aside.Lost({kW1, "r"}, kJob, "exit", until), 3);
  EXPECT_TRUE(set_aside.Covers(kW1, "uid-a", until + 2 * limits::kSetAsideMinMs - 1));
  set_aside.DidWell(kW1, "uid-a");
  EXPECT_EQ(set_aside.Lost({kW1, "r"}, kJob, "exit", until), 1);
  EXPECT_FALSE(set_aside.Covers(kW1, "uid-a", until));
}

TEST(SetAside, WhoComesBackWithWhatItHeldIsUsedAndItsProcessCountsOnce) {
  SetAside set_aside;
  for (int64_t now = 0; now < 4; ++now) {
    EXPECT_EQ(set_aside.Lost({kW1, "p"}, kJob, "cut", now), 1);
    EXPECT_EQ(set_aside.Covers(kW1, "uid-a", now), now > 0);
    EXPECT_FALSE(set_aside.CoversReturned(kW1, "uid-a", now));
    // The question changes nothing.
    EXPECT_EQ(set_aside.Covers(kW1, "uid-a", now), now > 0);
    set_aside.CameBack(kW1, "uid-a", now);
    EXPECT_FALSE(set_aside.Covers(kW1, "uid-a", now));
  }
  // What failed in it stays a failure.
  set_aside.Add({kW2, "p"}, kJob, "no data", 0);
  set_aside.CameBack(kW2, "uid-a", 0);
  EXPECT_TRUE(set_aside.Covers(kW2, "uid-a", 0));
  EXPECT_TRUE(set_aside.CoversReturned(kW2, "uid-a", 0));
}

TEST(SetAside, WhatFailsSeldomIsRemembered) {
  SetAside set_aside;
  set_aside.Add({kW1, "p"}, kJob, "once", 0);
  const int64_t later = limits::kSetAsideMemoryMs;
  set_aside.Add({kW1, "p"}, kJob, "again", later);
  EXPECT_TRUE(set_aside.Covers(kW1, "uid-a", later + 2 * limits::kSetAsideMinMs - 1));
  set_aside.Add({kW2, "p"}, kJob, "another", 4 * later);
  EXPECT_EQ(set_aside.Reason(kW1, 4 * later), "");
}

}  // namespace
}  // namespace evograd
