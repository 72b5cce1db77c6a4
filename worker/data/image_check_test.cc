// Goal: every listed file is looked at once, the first bad one is named whatever threads do, and a
// long look reports and can be stopped. Method: lists over small pictures of which some are
// removed, cut or replaced.
#include "worker/data/image_check.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "worker/data/testing/folder_fixture.h"
#include "worker/data/testing/pictures.h"

namespace evograd {
namespace {

class ImageCheckTest : public FolderFixture {
 protected:
  // `count` pictures, listed twice over as good lists do.
  ImageList List(const std::string& name, int count) {
    ImageList list;
    list.path = absl::StrCat(folder_, "/", name, ".json");
    const std::string png = EncodePng(MakePicture(16, 16, 1, 2));
    for (int i = 0; i < count; ++i) {
      list.images.push_back(Write(absl::StrCat(name, i, ".png"), png));
    }
    return list;
  }

  std::atomic<bool> cancelled_{false};
};

TEST_F(ImageCheckTest, GoodListsPass) {
  const ImageList base = List("base", 100);
  const ImageList novel = List("novel", 1);
  EXPECT_TRUE(CheckImageLists({&base, &novel, &base}, cancelled_).ok());
  EXPECT_TRUE(CheckImageLists({}, cancelled_).ok());
}

TEST_F(ImageCheckTest, TheFirstBadFileIsNamedWithItsList) {
  const ImageList base = List("base", 300);
  const ImageList novel = List("novel", 300);
  for (int run = 0; run < 5; ++run) {
    std::remove(novel.images[299].c_str());
    std::remove(novel.images[17].c_str());
    ExpectRefused(CheckImageLists({&base, &novel}, cancelled_), absl::StatusCode::kNotFound,
                  {"novel17.png: ", "No such file", "novel.json lists it"});
    Write("base290.png", "");
    ExpectRefused(CheckImageLists({&base, &novel}, cancelled_), absl::StatusCode::kDataLoss,
                  {"base290.png: is empty", "base.json lists it"});
    Write("base290.png", EncodePng(MakePicture(16, 16, 1, 2)));
  }
}

TEST_F(ImageCheckTest, NoListIsBlamedForWhatTheWorkerLacks) {
  const ImageList base = List("base", 3);
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none = {0, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const absl::Status status = CheckImageLists({&base}, cancelled_);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  ExpectRefused(status, absl::StatusCode::kResourceExhausted, {"base0.png: ", "Too many open"});
  EXPECT_EQ(status.message().find("mend"), std::string::npos) << status;
}

TEST_F(ImageCheckTest, ItReportsAndCanBeStopped) {
  const ImageList base = List("base", 2000);
  int64_t reports = 0;
  ImageCheckOptions options;
  options.report_interval = absl::ZeroDuration();
  options.report = [&](int64_t done, int64_t all) {
    ++reports;
    EXPECT_LE(done, all);
    EXPECT_EQ(all, 2000);
  };
  EXPECT_TRUE(CheckImageLists({&base}, cancelled_, options).ok());
  EXPECT_GT(reports, 0);
  cancelled_ = true;
  EXPECT_EQ(CheckImageLists({&base}, cancelled_).code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace evograd
