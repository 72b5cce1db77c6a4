// Goal: file lists are read as classes of images, and what is wrong in one is said with the file,
// the field and the position. Method: small lists written here; each bad one differs in one thing
// from a good one.
#include "worker/data/image_list.h"

#include <gtest/gtest.h>

#include <fstream>

namespace evograd {
namespace {

constexpr char kGood[] = R"({
  "label_names": ["wren", "owl", "rook"],
  "image_names": ["/a/0.jpg", "b/1.png", "/a/2.jpg", "/a/3.jpg"],
  "image_labels": [2, 0, 2, 0]
})";

class ImageListTest : public testing::Test {
 protected:
  std::string Write(const std::string& text) {
    std::ofstream(path_, std::ios::binary) << text;
    return path_;
  }

  // kGood with one part of it changed.
  std::string Changed(const std::string& from, const std::string& to) {
    std::string text = kGood;
    const size_t where = text.find(from);
    EXPECT_NE(where, std::string::npos) << from;
    return text.replace(where, from.size(), to);
  }

  void ExpectRefused(const std::string& text, const std::vector<std::string>& parts) {
    const auto list = ReadImageList(Write(text));
    ASSERT_FALSE(list.ok()) << text;
    EXPECT_EQ(list.status().code(), absl::StatusCode::kDataLoss) << list.status();
    EXPECT_NE(list.status().message().find(path_ + ": "), std::string::npos) << list.status();
    for (const std::string& part : parts) {
      EXPECT_NE(list.status().message().find(part), std::string::npos)
          << list.status() << "\nlacks: " << part;
    }
  }

  const std::string path_ = testing::TempDir() + "/" +
                            testing::UnitTest::GetInstance()->current_test_info()->name() + ".json";
};

TEST_F(ImageListTest, ImagesByClass) {
  const auto list = ReadImageList(Write(kGood));
  ASSERT_TRUE(list.ok()) << list.status();
  EXPECT_EQ(list->path, path_);
  EXPECT_EQ(list->images, (std::vector<std::string>{"/a/0.jpg", testing::TempDir() + "/b/1.png",
                                                    "/a/2.jpg", "/a/3.jpg"}));
  ASSERT_EQ(list->classes.size(), 2);
  EXPECT_EQ(list->classes[0].label, 0);
  EXPECT_EQ(list->classes[0].name, "wren");
  EXPECT_EQ(list->classes[0].images, (std::vector<int64_t>{1, 3}));
  EXPECT_EQ(list->classes[1].label, 2);
  EXPECT_EQ(list->classes[1].name, "rook");
  EXPECT_EQ(list->classes[1].images, (std::vector<int64_t>{0, 2}));
  EXPECT_EQ(list->classes_of, (std::vector<int64_t>{1, 0, 1, 0}));
}

TEST_F(ImageListTest, NamesMayHaveBrackets) {
  const auto list = ReadImageList(Write(Changed("b/1.png", R"([[[[[[[[[[[[[[[[[[[[\"[[)")));
  ASSERT_TRUE(list.ok()) << list.status();
  EXPECT_EQ(list->images[1], testing::TempDir() + "/[[[[[[[[[[[[[[[[[[[[\"[[");
}

TEST_F(ImageListTest, WithoutNamesALabelIsItsName) {
  const auto list = ReadImageList(Write(Changed(R"(["wren", "owl", "rook"])", "[]")));
  ASSERT_TRUE(list.ok()) << list.status();
  EXPECT_EQ(list->classes[1].name, "2");
}

TEST_F(ImageListTest, WhatIsNoListIsRefused) {
  ExpectRefused("{\"label_names\": [", {"is not JSON (byte 18"});
  ExpectRefused("[1, 2]", {"holds a JSON array"});
  ExpectRefused(std::string(1 << 20, '['), {"nests too deeply"});
  ExpectRefused(Changed("[2, 0, 2", "[2, 0, 1e999"), {"is not JSON that can be read", "1e999"});
  ExpectRefused(Changed("image_names", "names"), {"has no field image_names"});
  ExpectRefused(Changed("[2, 0, 2, 0]", "{}"), {"image_labels is a JSON object, not an array"});
}

TEST_F(ImageListTest, BadEntriesAreNamed) {
  ExpectRefused(Changed("\"b/1.png\"", "7"), {"image_names[1] is number where a name"});
  ExpectRefused(Changed("\"b/1.png\"", "\"\""), {"image_names[1] is empty"});
  ExpectRefused(Changed("\"owl\"", "null"), {"label_names[1] is null"});
  ExpectRefused(Changed("[2, 0, 2", "[2, 0, -1"), {"image_labels[2] is -1 where"});
  ExpectRefused(Changed("[2, 0, 2", "[2, 0, 1.5"), {"image_labels[2] is 1.5 where"});
  ExpectRefused(Changed("[2, 0, 2", "[2, 0, \"2\""), {"image_labels[2] is a JSON string where"});
  ExpectRefused(Changed("[2, 0, 2", "[2, 0, 18446744073709551615"), {"image_labels[2] is 184"});
  ExpectRefused(Changed("[2, 0, 2", "[2, 0, 3"),
                {"image_labels[2] is 3, outside 0 to 2: label_names has 3 names"});
}

TEST_F(ImageListTest, LengthsMustAgree) {
  ExpectRefused(Changed("[2, 0, 2, 0]", "[2, 0, 2]"),
                {"image_names has 4 entries but image_labels 3"});
}

TEST_F(ImageListTest, AnEmptyDomainIsRefused) {
  ExpectRefused(R"({"label_names": ["a"], "image_names": [], "image_labels": []})",
                {"is an empty domain"});
}

TEST_F(ImageListTest, AMissingListIsNotFound) {
  const auto list = ReadImageList("/none/base.json");
  EXPECT_EQ(list.status().code(), absl::StatusCode::kNotFound);
  EXPECT_NE(list.status().message().find("/none/base.json: cannot be read"), std::string::npos);
}

TEST_F(ImageListTest, ClassesAreChecked) {
  const auto list = ReadImageList(Write(Changed("[2, 0, 2, 0]", "[2, 0, 2, 2]")));
  ASSERT_TRUE(list.ok()) << list.status();
  EXPECT_TRUE(CheckClasses(*list, 2, 1).ok());
  const absl::Status few_classes = CheckClasses(*list, 3, 1);
  EXPECT_EQ(few_classes.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(few_classes.message().find(path_ + ": has 2 classes with images where 3 are needed"),
            std::string::npos)
      << few_classes;
  const absl::Status few_images = CheckClasses(*list, 2, 3);
  EXPECT_EQ(few_images.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(few_images.message().find(path_ + ": class 0 (wren) has 1 images where 3 are needed;"),
            std::string::npos)
      << few_images;
  EXPECT_NE(CheckClasses(*list, 2, 4).message().find("(1 more have too few)"), std::string::npos);
  EXPECT_TRUE(CheckClasses(*list, 2, 3, /*repeat_images=*/true).ok());
  EXPECT_FALSE(CheckClasses(*list, 3, 3, /*repeat_images=*/true).ok());
}

}  // namespace
}  // namespace evograd
