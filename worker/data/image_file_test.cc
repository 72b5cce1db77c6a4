// Goal: pictures are read with their pixels, and files that are not whole pictures are refused with
// their name, the cause and the remedy. Method: tiny files written here; each damaged one differs
// in one thing from a good one that is read. That pixels are Pillow's is
// tests/golden/images_test's.
#include "worker/data/image_file.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "common/limits.h"
#include "worker/data/testing/pictures.h"

namespace evograd {
namespace {

void ExpectRefused(const absl::StatusOr<Image>& image, absl::StatusCode code,
                   const std::vector<std::string>& parts) {
  ASSERT_FALSE(image.ok());
  EXPECT_EQ(image.status().code(), code) << image.status();
  for (const std::string& part : parts) {
    EXPECT_NE(image.status().message().find(part), std::string::npos)
        << image.status() << "\nlacks: " << part;
  }
}

TEST(ImageFileTest, PngKeepsEveryPixel) {
  const Image picture = MakePicture(13, 17, 1, 2);
  const auto read = DecodeImage(EncodePng(picture), "a");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->height, 13);
  EXPECT_EQ(read->width, 17);
  EXPECT_EQ(read->pixels, picture.pixels);
}

TEST(ImageFileTest, JpegComesClose) {
  const Image picture = MakePicture(40, 56, 1, 2);
  const auto read = DecodeImage(EncodeJpeg(picture, 95), "a");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->height, 40);
  EXPECT_EQ(read->width, 56);
  double error = 0;
  for (size_t i = 0; i < picture.pixels.size(); ++i) {
    error += std::abs(picture.pixels[i] - read->pixels[i]);
  }
  EXPECT_LT(error / picture.pixels.size(), 8);
  EXPECT_GT(error, 0);
}

TEST(ImageFileTest, TheContentTellsTheKind) {
  const Image picture = MakePicture(8, 8, 1, 2);
  const std::string path = testing::TempDir() + "/called.jpg";
  WriteFileOrDie(path, EncodePng(picture));
  EXPECT_EQ(ReadImage(path).value().pixels, picture.pixels);
  WriteFileOrDie(path, "GIF89a, say");
  ExpectRefused(ReadImage(path), absl::StatusCode::kDataLoss,
                {path, "neither a JPEG nor a PNG", "convert"});
  WriteFileOrDie(path, "");
  ExpectRefused(ReadImage(path), absl::StatusCode::kDataLoss, {path, "is empty"});
}

TEST(ImageFileTest, MissingFile) {
  const std::string path = testing::TempDir() + "/none.png";
  ExpectRefused(ReadImage(path), absl::StatusCode::kNotFound, {path, "No such file"});
}

TEST(ImageFileTest, TruncatedFilesAreRefused) {
  for (const std::string& bytes :
       {EncodeJpeg(MakePicture(40, 56, 1, 2), 90), EncodePng(MakePicture(40, 56, 1, 2))}) {
    ASSERT_TRUE(DecodeImage(bytes, "a.jpg").ok());
    for (const size_t size : {bytes.size() * 9 / 10, bytes.size() / 2}) {
      ExpectRefused(DecodeImage(bytes.substr(0, size), "a.jpg"), absl::StatusCode::kDataLoss,
                    {"a.jpg: the ", "is truncated", "get the file again"});
    }
    // Cut within its header.
    ExpectRefused(DecodeImage(bytes.substr(0, 12), "a.jpg"), absl::StatusCode::kDataLoss,
                  {"a.jpg: the ", "get the file again"});
  }
}

TEST(ImageFileTest, DamagedFilesAreRefused) {
  std::string jpeg = EncodeJpeg(MakePicture(40, 56, 1, 2), 90);
  // A marker in the middle of the data, where libjpeg would go on after a warning.
  jpeg[jpeg.size() / 2] = '\xFF';
  jpeg[jpeg.size() / 2 + 1] = '\xC0';
  ExpectRefused(DecodeImage(jpeg, "b.jpg"), absl::StatusCode::kDataLoss,
                {"b.jpg: the JPEG is ", "get the file again"});
  std::string png = EncodePng(MakePicture(40, 56, 1, 2));
  png[png.size() / 2] ^= 1;
  ExpectRefused(DecodeImage(png, "b.png"), absl::StatusCode::kDataLoss,
                {"b.png: the PNG is damaged", "get the file again"});
}

TEST(ImageFileTest, ExtentsHaveABound) {
  std::string jpeg = EncodeJpeg(MakePicture(16, 16, 1, 2), 90);
  const size_t frame = jpeg.find("\xFF\xC0");
  ASSERT_NE(frame, std::string::npos);
  jpeg[frame + 5] = 0x7F;  // its height's upper byte: 32528 pixels
  ExpectRefused(DecodeImage(jpeg, "c.jpg"), absl::StatusCode::kResourceExhausted,
                {"c.jpg: is 16 x 32528 pixels", "make it smaller"});
  const int most = limits::kMaxImageExtent;
  EXPECT_TRUE(DecodeImage(EncodePng(MakePicture(1, most, 1, 2)), "c").ok());
  ExpectRefused(DecodeImage(EncodePng(MakePicture(1, most + 1, 1, 2)), "c.png"),
                absl::StatusCode::kResourceExhausted, {"c.png: is 4097 x 1 pixels"});
}

// Written by hand: 1 x 1, grey, 16 bits.
const std::string& SixteenBitGrey() {
  static const std::string& png = *new std::string(
      "\x89PNG\r\n\x1A\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x10\0\0\0\0\x6A\xEE\x47\x16\0\0\0\0IEND\xAE"
      "\x42\x60\x82",
      45);
  return png;
}

TEST(ImageFileTest, SixteenBitGreyIsRefused) {
  ExpectRefused(DecodeImage(SixteenBitGrey(), "d.png"), absl::StatusCode::kDataLoss,
                {"d.png: is a PNG of 16-bit grey", "convert it"});
}

TEST(ImageFileTest, ApplesOwnPngIsNamed) {
  std::string png = EncodePng(MakePicture(8, 8, 1, 2));
  png.insert(8, std::string("\0\0\0\4CgBI\x50\0\x20\6\x2C\xB8\x77\x66", 16));
  ExpectRefused(DecodeImage(png, "e.png"), absl::StatusCode::kDataLoss, {"e.png: ", "CgBI"});
}

// Written as a file: what a look at it says.
absl::Status Look(const std::string& bytes) {
  const std::string path = testing::TempDir() + "/looked-at";
  WriteFileOrDie(path, bytes);
  return CheckImageFile(path);
}

TEST(ImageFileTest, ALookFindsWhatReadingWouldWithoutDecoding) {
  // Noise, so that files are longer than the blocks that are looked at.
  const Image large = MakePicture(200, 210, 3, 4);
  const Image small = MakePicture(20, 16, 3, 4);
  for (const std::string& good :
       {EncodePng(small), EncodePng(large), EncodeJpeg(small, 90), EncodeJpeg(large, 98)}) {
    EXPECT_TRUE(Look(good).ok()) << Look(good);
    EXPECT_TRUE(Look(good + "bytes of a camera's").ok());
    for (const size_t size : {good.size() * 9 / 10, good.size() / 2, size_t{20}}) {
      EXPECT_EQ(Look(good.substr(0, size)).code(), absl::StatusCode::kDataLoss) << size;
    }
  }
  EXPECT_GT(EncodePng(large).size(), 3 * 4096u);
  EXPECT_GT(EncodeJpeg(large, 98).size(), 3 * 4096u);
  // A damaged middle is not looked at: that is what makes it cheap.
  std::string damaged = EncodePng(large);
  damaged[damaged.size() / 2] ^= 1;
  EXPECT_TRUE(Look(damaged).ok());
  EXPECT_FALSE(DecodeImage(damaged, "f").ok());
}

TEST(ImageFileTest, ALookRefusesWhatIsRefusedBeforePixels) {
  for (const std::string& bad : {std::string(), std::string("GIF89a, say"), SixteenBitGrey(),
                                 EncodePng(MakePicture(1, limits::kMaxImageExtent + 1, 1, 2))}) {
    const std::string path = testing::TempDir() + "/looked-at";
    const absl::Status looked = Look(bad);
    EXPECT_FALSE(looked.ok());
    EXPECT_EQ(looked, ReadImage(path).status());
  }
  // A PNG without its last chunk is read, and so it passes.
  const std::string png = EncodePng(MakePicture(9, 9, 1, 2));
  EXPECT_EQ(Look(png.substr(0, png.size() - 12)),
            DecodeImage(png.substr(0, png.size() - 12), "g").status());
  EXPECT_EQ(CheckImageFile(testing::TempDir()).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(CheckImageFile(testing::TempDir() + "/none").code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace evograd
