// Goal: a folder's format is found from its files, every format arrives in the same shape, and what
// cannot be told is refused with the names looked for. Method: tiny folders written here.
#include "worker/data/image_set.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "worker/data/testing/folder_fixture.h"
#include "worker/data/testing/idx_bytes.h"

namespace evograd {
namespace {

class ImageSetTest : public FolderFixture {
 protected:
  // Images of 2 x `columns` pixels with the labels given.
  void WriteIdx(const std::string& prefix, const std::string& labels, uint32_t columns = 3) {
    const uint32_t count = labels.size();
    Write(prefix + "-images-idx3-ubyte",
          IdxImages(count, 2, columns, std::string(count * 2 * columns, 'x')));
    Write(prefix + "-labels-idx1-ubyte", IdxLabels(labels));
  }
  void WriteCifar100() {
    Write("train.bin", std::string(3074, '\x02'));
    Write("test.bin", std::string(3074, '\x03'));
  }

  std::atomic<bool> cancelled_{false};
};

TEST_F(ImageSetTest, IdxIsFoundAndItsClassesCounted) {
  WriteIdx("train", std::string("\x00\x04\x02", 3));
  WriteIdx("t10k", std::string("\x01\x03", 2));
  ASSERT_EQ(*FindImageFormat(folder_), ImageFormat::kIdx);
  const auto data = ReadImageData(folder_, ImageFormat::kIdx, 0, cancelled_);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->classes, 5);
  EXPECT_EQ(data->train.channels, 1);
  EXPECT_EQ(data->train.rows, 2);
  EXPECT_EQ(data->train.columns, 3);
  EXPECT_EQ(data->train.labels, (std::vector<uint8_t>{0, 4, 2}));
  EXPECT_EQ(data->test.count(), 2);
  EXPECT_EQ(ReadImageData(folder_, ImageFormat::kIdx, 9, cancelled_)->classes, 9);
}

TEST_F(ImageSetTest, LabelsBeyondTheClassesAreRefused) {
  WriteIdx("train", std::string("\x00\x04\x02", 3));
  WriteIdx("t10k", std::string("\x01\x05", 2));
  ExpectRefused(ReadImageData(folder_, ImageFormat::kIdx, 0, cancelled_).status(),
                absl::StatusCode::kDataLoss,
                {"t10k-labels-idx1-ubyte", "label at offset 9 is 5, outside 0 to 4"});
  ExpectRefused(ReadImageData(folder_, ImageFormat::kIdx, 4, cancelled_).status(),
                absl::StatusCode::kDataLoss,
                {"train-labels-idx1-ubyte", "label at offset 9 is 4, outside 0 to 3"});
  EXPECT_TRUE(ReadImageData(folder_, ImageFormat::kIdx, 6, cancelled_).ok());
}

TEST_F(ImageSetTest, Cifar100IsFoundAndKeepsItsCoarseLabels) {
  WriteCifar100();
  ASSERT_EQ(*FindImageFormat(folder_), ImageFormat::kCifar100);
  const auto data = ReadImageData(folder_, ImageFormat::kCifar100, 0, cancelled_);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->classes, 100);
  EXPECT_EQ(data->train.channels, 3);
  EXPECT_EQ(data->train.rows, 32);
  EXPECT_EQ(data->train.coarse_labels, (std::vector<uint8_t>{2}));
  EXPECT_EQ(data->test.labels, (std::vector<uint8_t>{3}));
}

TEST_F(ImageSetTest, Cifar10IsFoundEvenInItsPythonVersion) {
  for (int batch = 1; batch <= 5; ++batch) {
    Write(absl::StrCat("data_batch_", batch, ".bin"), std::string(3073, '\x01'));
  }
  Write("test_batch.bin", std::string(3073, '\x01'));
  ASSERT_EQ(*FindImageFormat(folder_), ImageFormat::kCifar10);
  const auto data = ReadImageData(folder_, ImageFormat::kCifar10, 0, cancelled_);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->train.count(), 5);
  ASSERT_EQ(rename((folder_ + "/data_batch_1.bin").c_str(), (folder_ + "/data_batch_1").c_str()),
            0);
  ASSERT_EQ(*FindImageFormat(folder_), ImageFormat::kCifar10);
  ExpectRefused(ReadImageData(folder_, ImageFormat::kCifar10, 0, cancelled_).status(),
                absl::StatusCode::kNotFound, {"Python version"});
}

TEST_F(ImageSetTest, AFormatThatCannotBeToldIsRefused) {
  ExpectRefused(FindImageFormat(folder_).status(), absl::StatusCode::kNotFound,
                {"data_batch_1.bin", "train.bin", "train-images-idx3-ubyte"});
  WriteCifar100();
  EXPECT_TRUE(FindImageFormat(folder_).ok());
  WriteIdx("train", std::string(1, '\x00'));
  ExpectRefused(FindImageFormat(folder_).status(), absl::StatusCode::kInvalidArgument,
                {"several formats", "train.bin, train-images-idx3-ubyte"});
}

TEST_F(ImageSetTest, AnEmptyTrainingFileIsRefused) {
  WriteIdx("train", "");
  WriteIdx("t10k", std::string(1, '\x00'));
  ExpectRefused(ReadImageData(folder_, ImageFormat::kIdx, 0, cancelled_).status(),
                absl::StatusCode::kDataLoss, {"train-images-idx3-ubyte: holds no image"});
  WriteIdx("train", std::string(1, '\x00'));
  EXPECT_TRUE(ReadImageData(folder_, ImageFormat::kIdx, 0, cancelled_).ok());
}

TEST_F(ImageSetTest, TrainingAndTestImagesHaveOneSize) {
  WriteIdx("train", std::string(2, '\x00'));
  WriteIdx("t10k", std::string(2, '\x00'), 4);
  ExpectRefused(ReadImageData(folder_, ImageFormat::kIdx, 0, cancelled_).status(),
                absl::StatusCode::kDataLoss, {"images of 2 x 4", "images of 2 x 3"});
  WriteIdx("t10k", std::string(2, '\x00'), 3);
  EXPECT_TRUE(ReadImageData(folder_, ImageFormat::kIdx, 0, cancelled_).ok());
}

}  // namespace
}  // namespace evograd
