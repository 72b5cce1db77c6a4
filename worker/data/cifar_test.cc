// Goal: what stands in CIFAR's binary files is read, and a file that is not whole is refused with
// its name, the place and the remedy. Method: small files written here; each damaged one differs in
// one thing from a good one that is read.
#include "worker/data/cifar.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "worker/data/testing/folder_fixture.h"

namespace evograd {
namespace {

constexpr int kImageBytes = 3 * 32 * 32;

// A record's pixels: distinct for each image, channel and place.
uint8_t Pixel(int image, int at) { return (image * 37 + at * 11 + at / 1024) % 251; }

std::string Image(int image) {
  std::string bytes;
  for (int at = 0; at < kImageBytes; ++at) bytes.push_back(static_cast<char>(Pixel(image, at)));
  return bytes;
}

std::string Record10(int label, int image) { return std::string(1, label) + Image(image); }
std::string Record100(int coarse, int fine, int image) {
  return std::string(1, coarse) + std::string(1, fine) + Image(image);
}

class CifarTest : public FolderFixture {
 protected:
  CifarTest() {
    for (int batch = 1; batch <= 5; ++batch) {
      Write(absl::StrCat("data_batch_", batch, ".bin"),
            Record10(batch, batch) + Record10(9 - batch, 10 + batch));
    }
    Write("test_batch.bin", Record10(7, 50));
    Write("train.bin", Record100(19, 99, 60) + Record100(0, 3, 61));
    Write("test.bin", Record100(4, 0, 70));
  }

  absl::StatusOr<CifarImages> Read(CifarKind kind, bool train) {
    return ReadCifar(kind, folder_, train, cancelled_);
  }

  void ExpectRefused(CifarKind kind, absl::StatusCode code, const std::vector<std::string>& parts) {
    FolderFixture::ExpectRefused(Read(kind, true), code, parts);
  }

  std::atomic<bool> cancelled_{false};
};

void ExpectImage(const CifarImages& images, int64_t at, int image) {
  for (int i = 0; i < kImageBytes; ++i) {
    ASSERT_EQ(images.pixels[at * kImageBytes + i], Pixel(image, i))
        << "image " << at << " at " << i;
  }
}

TEST_F(CifarTest, ReadsTheFiveBatchesOfCifar10InOrder) {
  const auto train = Read(CifarKind::kCifar10, true);
  ASSERT_TRUE(train.ok()) << train.status();
  EXPECT_EQ(train->labels, (std::vector<uint8_t>{1, 8, 2, 7, 3, 6, 4, 5, 5, 4}));
  EXPECT_TRUE(train->coarse_labels.empty());
  ASSERT_EQ(train->pixels.size(), 10u * kImageBytes);
  ExpectImage(*train, 0, 1);
  ExpectImage(*train, 3, 12);
  ExpectImage(*train, 9, 15);
  const auto test = Read(CifarKind::kCifar10, false);
  ASSERT_TRUE(test.ok()) << test.status();
  EXPECT_EQ(test->labels, (std::vector<uint8_t>{7}));
  ExpectImage(*test, 0, 50);
}

TEST_F(CifarTest, ReadsFineAndCoarseLabelsOfCifar100) {
  const auto train = Read(CifarKind::kCifar100, true);
  ASSERT_TRUE(train.ok()) << train.status();
  EXPECT_EQ(train->labels, (std::vector<uint8_t>{99, 3}));
  EXPECT_EQ(train->coarse_labels, (std::vector<uint8_t>{19, 0}));
  ExpectImage(*train, 1, 61);
  const auto test = Read(CifarKind::kCifar100, false);
  ASSERT_TRUE(test.ok()) << test.status();
  EXPECT_EQ(test->labels, (std::vector<uint8_t>{0}));
}

TEST_F(CifarTest, AWrongLengthIsRefused) {
  const std::string good = Record10(1, 0) + Record10(2, 1);
  Write("data_batch_3.bin", good.substr(0, good.size() - 1));
  ExpectRefused(
      CifarKind::kCifar10, absl::StatusCode::kDataLoss,
      {"data_batch_3.bin: is 6145 bytes long", "CIFAR-10 records of 3073 bytes", "offset 3073"});
  Write("data_batch_3.bin", "");
  ExpectRefused(CifarKind::kCifar10, absl::StatusCode::kDataLoss, {"is 0 bytes long"});
  Write("data_batch_3.bin", good);
  EXPECT_TRUE(Read(CifarKind::kCifar10, true).ok());
}

TEST_F(CifarTest, RecordsOfTheOtherSetAreRecognised) {
  Write("data_batch_2.bin", Record100(1, 2, 3));
  ExpectRefused(CifarKind::kCifar10, absl::StatusCode::kDataLoss,
                {"is 3074 bytes long", "look like those of CIFAR-100"});
  Write("train.bin", Record10(1, 2));
  ExpectRefused(CifarKind::kCifar100, absl::StatusCode::kDataLoss,
                {"is 3073 bytes long", "look like those of CIFAR-10"});
}

TEST_F(CifarTest, LabelsOutOfRangeSayWhere) {
  Write("data_batch_4.bin", Record10(9, 0) + Record10(10, 1));
  ExpectRefused(CifarKind::kCifar10, absl::StatusCode::kDataLoss,
                {"data_batch_4.bin: the label at offset 3073 (record 1) is 10, outside 0 to 9"});
  Write("data_batch_4.bin", Record10(9, 0) + Record10(9, 1));
  EXPECT_TRUE(Read(CifarKind::kCifar10, true).ok());
  Write("train.bin", Record100(19, 100, 0));
  ExpectRefused(CifarKind::kCifar100, absl::StatusCode::kDataLoss,
                {"the label at offset 1 (record 0) is 100, outside 0 to 99"});
  Write("train.bin", Record100(20, 99, 0));
  ExpectRefused(CifarKind::kCifar100, absl::StatusCode::kDataLoss,
                {"the coarse label at offset 0 (record 0) is 20, outside 0 to 19"});
  Write("train.bin", Record100(19, 99, 0));
  EXPECT_TRUE(Read(CifarKind::kCifar100, true).ok());
}

TEST_F(CifarTest, MissingFilesAreNamed) {
  ASSERT_EQ(unlink((folder_ + "/data_batch_5.bin").c_str()), 0);
  ExpectRefused(CifarKind::kCifar10, absl::StatusCode::kNotFound,
                {"data_batch_5.bin: cannot be read: No such file"});
  Write("data_batch_5", "python");
  ExpectRefused(CifarKind::kCifar10, absl::StatusCode::kNotFound,
                {"data_batch_5 of the Python version of CIFAR-10", "binary version"});
}

TEST_F(CifarTest, ReadingCanBeCancelled) {
  cancelled_ = true;
  ExpectRefused(CifarKind::kCifar10, absl::StatusCode::kCancelled, {});
}

}  // namespace
}  // namespace evograd
