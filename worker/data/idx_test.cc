// Goal: what stands in an idx file is read, plain or compressed, and a file that is not whole is
// refused with its name, the place and the remedy. Method: tiny files written here; each damaged
// one differs in one thing from a good one that is read. Fashion-MNIST of the Debian package shows
// that real files are read.
#include "worker/data/idx.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <atomic>
#include <fstream>
#include <iterator>
#include <numeric>
#include <string>
#include <vector>

#include "common/limits.h"
#include "worker/data/testing/folder_fixture.h"
#include "worker/data/testing/idx_bytes.h"

namespace evograd {
namespace {

// Three images of 2 x 4 pixels 0, 1, 2, …, and their labels.
std::string Images() {
  std::string bytes = BigEndian({2051, 3, 2, 4});
  for (char pixel = 0; pixel < 24; ++pixel) bytes.push_back(pixel);
  return bytes;
}
std::string Labels() { return BigEndian({2049, 3}) + std::string("\x01\x09\x00", 3); }

std::string Gzip(const std::string& bytes) {
  const std::string path = testing::TempDir() + "/gzip.tmp";
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, bytes.data(), bytes.size());
  gzclose(file);
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

class IdxTest : public FolderFixture {
 protected:
  std::atomic<bool> cancelled_{false};
};

TEST_F(IdxTest, ReadsPlainAndCompressed) {
  for (const bool compressed : {false, true}) {
    const auto images = ReadIdxImages(
        compressed ? Write("i.gz", Gzip(Images())) : Write("i", Images()), cancelled_);
    ASSERT_TRUE(images.ok()) << images.status();
    EXPECT_EQ(images->count, 3);
    EXPECT_EQ(images->rows, 2);
    EXPECT_EQ(images->columns, 4);
    std::vector<uint8_t> expected(24);
    std::iota(expected.begin(), expected.end(), 0);
    EXPECT_EQ(images->pixels, expected);
    const auto labels = ReadIdxLabels(
        compressed ? Write("l.gz", Gzip(Labels())) : Write("l", Labels()), 10, cancelled_);
    ASSERT_TRUE(labels.ok()) << labels.status();
    EXPECT_EQ(*labels, (std::vector<uint8_t>{1, 9, 0}));
  }
}

TEST_F(IdxTest, FindsThePairOfAFolder) {
  ExpectRefused(ReadLabelledImages(folder_, "train", 10, cancelled_), absl::StatusCode::kNotFound,
                {"neither train-images-idx3-ubyte nor train-images-idx3-ubyte.gz"});
  Write("train-images-idx3-ubyte.gz", Gzip(Images()));
  ExpectRefused(ReadLabelledImages(folder_, "train", 10, cancelled_), absl::StatusCode::kNotFound,
                {"neither train-labels-idx1-ubyte nor train-labels-idx1-ubyte.gz"});
  Write("train-labels-idx1-ubyte", Labels());
  const auto pair = ReadLabelledImages(folder_, "train", 10, cancelled_);
  ASSERT_TRUE(pair.ok()) << pair.status();
  EXPECT_EQ(pair->images.count, 3);
  EXPECT_EQ(pair->labels.size(), 3u);
  EXPECT_EQ(pair->images_path, folder_ + "/train-images-idx3-ubyte.gz");
  ExpectRefused(ReadLabelledImages(folder_ + "/none", "train", 10, cancelled_),
                absl::StatusCode::kNotFound, {"/none"});
}

TEST_F(IdxTest, CountsMustAgree) {
  Write("t10k-images-idx3-ubyte", Images());
  Write("t10k-labels-idx1-ubyte", BigEndian({2049, 2}) + std::string(2, '\0'));
  ExpectRefused(ReadLabelledImages(folder_, "t10k", 10, cancelled_), absl::StatusCode::kDataLoss,
                {"3 images", "2 labels", "t10k-labels-idx1-ubyte"});
  Write("t10k-labels-idx1-ubyte", Labels());
  EXPECT_TRUE(ReadLabelledImages(folder_, "t10k", 10, cancelled_).ok());
}

TEST_F(IdxTest, TruncatedFilesSayWhere) {
  const std::string images = Images();
  EXPECT_TRUE(ReadIdxImages(Write("i", images), cancelled_).ok());
  ExpectRefused(ReadIdxImages(Write("i", images.substr(0, images.size() - 1)), cancelled_),
                absl::StatusCode::kDataLoss, {"/i: ends at offset 39", "3 images", "1 bytes"});
  ExpectRefused(ReadIdxImages(Write("i", images.substr(0, 9)), cancelled_),
                absl::StatusCode::kDataLoss, {"ends at offset 9 within the header"});
  ExpectRefused(ReadIdxImages(Write("i", ""), cancelled_), absl::StatusCode::kDataLoss,
                {"ends at offset 0"});
  const std::string labels = Labels();
  ExpectRefused(ReadIdxLabels(Write("l", labels.substr(0, 10)), 10, cancelled_),
                absl::StatusCode::kDataLoss, {"/l: ends at offset 10", "3 labels"});
}

TEST_F(IdxTest, EveryCutOfAGzipFileIsNoticed) {
  const std::string whole = Gzip(Images());
  EXPECT_TRUE(ReadIdxImages(Write("i.gz", whole), cancelled_).ok());
  for (size_t size = 0; size < whole.size(); ++size) {
    const auto images = ReadIdxImages(Write("i.gz", whole.substr(0, size)), cancelled_);
    EXPECT_EQ(images.status().code(), absl::StatusCode::kDataLoss) << size << images.status();
  }
  ExpectRefused(ReadIdxImages(Write("i.gz", whole.substr(0, whole.size() - 3)), cancelled_),
                absl::StatusCode::kDataLoss, {"i.gz: the gzip file is truncated"});
}

TEST_F(IdxTest, ADamagedGzipFileIsNoticed) {
  const std::string whole = Gzip(Images());
  for (const size_t at : {whole.size() / 2, whole.size() - 6}) {
    std::string damaged = whole;
    damaged[at] ^= 0x55;
    ExpectRefused(ReadIdxImages(Write("i.gz", damaged), cancelled_), absl::StatusCode::kDataLoss,
                  {"i.gz: the gzip file is damaged after offset"});
  }
}

TEST_F(IdxTest, TrailingBytesAreRefused) {
  ExpectRefused(ReadIdxImages(Write("i", Images() + "x"), cancelled_), absl::StatusCode::kDataLoss,
                {"bytes from offset 40"});
  ExpectRefused(ReadIdxImages(Write("i.gz", Gzip(Images() + "x")), cancelled_),
                absl::StatusCode::kDataLoss, {"bytes from offset 40"});
  ExpectRefused(ReadIdxLabels(Write("l", Labels() + "x"), 10, cancelled_),
                absl::StatusCode::kDataLoss, {"bytes from offset 11"});
}

TEST_F(IdxTest, WrongMagicNumbersAreRefused) {
  ExpectRefused(ReadIdxImages(Write("i", Labels() + std::string(8, '\0')), cancelled_),
                absl::StatusCode::kDataLoss, {"is 2049", "has 2051", "exchanged"});
  ExpectRefused(ReadIdxLabels(Write("l", BigEndian({7, 3}) + "abc"), 10, cancelled_),
                absl::StatusCode::kDataLoss, {"is 7", "has 2049", "right file"});
}

TEST_F(IdxTest, LabelsOutOfRangeSayWhere) {
  const std::string path = Write("l", Labels());
  ExpectRefused(ReadIdxLabels(path, 9, cancelled_), absl::StatusCode::kDataLoss,
                {"label at offset 9 is 9, outside 0 to 8"});
  EXPECT_TRUE(ReadIdxLabels(path, 10, cancelled_).ok());
}

TEST_F(IdxTest, HeadersThatLieCostNoMemory) {
  // 2^32 - 1 images: beyond the bound; a bound's worth: missing bytes.
  ExpectRefused(ReadIdxImages(Write("i", BigEndian({2051, 0xffffffff, 28, 28})), cancelled_),
                absl::StatusCode::kResourceExhausted, {"4294967295 items of 784 bytes"});
  const uint32_t most = limits::kMaxDatasetFileBytes / (28 * 28);
  ExpectRefused(ReadIdxImages(Write("i", BigEndian({2051, most, 28, 28})), cancelled_),
                absl::StatusCode::kDataLoss, {"ends at offset 16"});
  ExpectRefused(ReadIdxImages(Write("i", BigEndian({2051, 1, 0, 28})), cancelled_),
                absl::StatusCode::kDataLoss, {"images of 0 x 28"});
  ExpectRefused(ReadIdxImages(Write("i", BigEndian({2051, 1, 28, 1u << 31})), cancelled_),
                absl::StatusCode::kDataLoss, {"each side may be 1 to"});
}

TEST_F(IdxTest, OnlyRegularFilesAreOpened) {
  ExpectRefused(ReadIdxImages(folder_, cancelled_), absl::StatusCode::kDataLoss,
                {"not a regular file"});
  const std::string pipe = folder_ + "/pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  ExpectRefused(ReadIdxImages(pipe, cancelled_), absl::StatusCode::kDataLoss,
                {"not a regular file"});
  ExpectRefused(ReadIdxImages(folder_ + "/none", cancelled_), absl::StatusCode::kNotFound,
                {"/none: cannot be read: No such file"});
}

TEST_F(IdxTest, ReadingCanBeCancelled) {
  const std::string path = Write("i", Images());
  cancelled_ = true;
  ExpectRefused(ReadIdxImages(path, cancelled_), absl::StatusCode::kCancelled, {});
  cancelled_ = false;
  EXPECT_TRUE(ReadIdxImages(path, cancelled_).ok());
}

TEST(FashionMnistTest, IsRead) {
  const std::atomic<bool> cancelled{false};
  const auto set = ReadLabelledImages("/usr/share/datasets/fashion-mnist", "t10k", 10, cancelled);
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->images.count, 10000);
  EXPECT_EQ(set->images.rows, 28);
  EXPECT_EQ(set->images.columns, 28);
  std::vector<int> counts(10);
  for (const uint8_t label : set->labels) ++counts[label];
  EXPECT_EQ(counts, std::vector<int>(10, 1000));
}

}  // namespace
}  // namespace evograd
