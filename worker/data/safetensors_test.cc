// Goal: what stands in a safetensors file is read, and a file that is damaged, hostile or of
// another model is refused with its name, the tensor and the cause. Method: small files put
// together here; each bad one differs in one thing from a good one that is read. That files of
// Python's library are read to the last bit is tests/golden/safetensors_test's affair.
#include "worker/data/safetensors.h"

#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/limits.h"
#include "worker/data/safetensors_writer.h"
#include "worker/data/testing/folder_fixture.h"

namespace evograd {
namespace {

std::string Floats(const std::vector<float>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

std::string File(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + header + data;
}

// Two tensors: a of shape [2] and b of [2, 1].
constexpr char kHeader[] = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                           R"("b":{"dtype":"F32","shape":[2,1],"data_offsets":[8,16]}})";
std::string Data() { return Floats({1, 2, 3, 4}); }

class SafetensorsTest : public FolderFixture {
 protected:
  // Of `from` in the good header put `to`.
  absl::StatusOr<SafetensorsReader> OpenChanged(const std::string& from, const std::string& to) {
    const std::string header = absl::StrReplaceAll(kHeader, {{from, to}});
    EXPECT_NE(header, kHeader) << from;
    return SafetensorsReader::Open(Write("changed", File(header, Data())));
  }
};

TEST_F(SafetensorsTest, ReadsWhatItIsGiven) {
  const auto file = SafetensorsReader::Open(Write("good", File(kHeader, Data())));
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(file->entries().size(), 2u);
  EXPECT_EQ(file->entries().at("b").shape, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(file->entries().at("b").type, at::kFloat);
  const auto b = file->Read("b");
  ASSERT_TRUE(b.ok()) << b.status();
  EXPECT_TRUE(b->equal(at::tensor({3.f, 4.f}).view({2, 1})));
  ExpectRefused(file->Read("c").status(), absl::StatusCode::kNotFound, {"'c' is not in it"});
}

TEST_F(SafetensorsTest, ReadsScalarsEmptyTensorsAndMetadata) {
  SafetensorsWriter writer;
  writer.AddDoubles("scalar", {}, {0.5});
  writer.Add("empty", "I64", {0, 3}, "");
  writer.Add("flags", "BOOL", {3}, absl::string_view("\0\1\1", 3));
  writer.AddText("format", "pt");
  const auto file = SafetensorsReader::Open(Write("f", writer.Serialise()));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->Read("scalar")->item<double>(), 0.5);
  EXPECT_EQ(file->Read("scalar")->dim(), 0);
  EXPECT_EQ(file->Read("empty")->sizes(), (at::IntArrayRef{0, 3}));
  EXPECT_EQ(file->Read("flags")->sum().item<int64_t>(), 2);
  EXPECT_EQ(file->metadata().at("format"), "pt");

  SafetensorsWriter bad;
  bad.Add("flags", "BOOL", {3}, absl::string_view("\0\1\2", 3));
  const auto bad_file = SafetensorsReader::Open(Write("g", bad.Serialise()));
  ASSERT_TRUE(bad_file.ok()) << bad_file.status();
  ExpectRefused(bad_file->Read("flags").status(), absl::StatusCode::kDataLoss,
                {"'flags'", "element 2 is neither"});
}

TEST_F(SafetensorsTest, EveryCutIsNoticed) {
  const std::string whole = File(kHeader, Data());
  EXPECT_TRUE(SafetensorsReader::Open(Write("f", whole)).ok());
  for (size_t size = 0; size < whole.size(); ++size) {
    ExpectRefused(SafetensorsReader::Open(Write("f", whole.substr(0, size))).status(),
                  absl::StatusCode::kDataLoss, {"/f: "});
  }
  ExpectRefused(SafetensorsReader::Open(Write("f", whole.substr(0, whole.size() - 1))).status(),
                absl::StatusCode::kDataLoss, {"'b' ends at byte 16", "there are 15", "truncated"});
  ExpectRefused(SafetensorsReader::Open(Write("f", whole + "x")).status(),
                absl::StatusCode::kDataLoss, {"1 bytes after its last tensor"});
}

TEST_F(SafetensorsTest, FilesThatShrinkLaterAreNoticed) {
  const std::string whole = File(kHeader, Data());
  const auto file = SafetensorsReader::Open(Write("f", whole));
  ASSERT_TRUE(file.ok());
  Write("f", whole.substr(0, whole.size() - 3));
  EXPECT_TRUE(file->Read("a").ok());
  ExpectRefused(file->Read("b").status(), absl::StatusCode::kDataLoss, {"shorter", "'b'"});
}

TEST_F(SafetensorsTest, PlacesMustCoverTheFileOnce) {
  ExpectRefused(OpenChanged("[8,16]", "[4,12]").status(), absl::StatusCode::kDataLoss,
                {"'b' begins at byte 4", "within the one before"});
  ExpectRefused(OpenChanged("[8,16]", "[12,20]").status(), absl::StatusCode::kDataLoss,
                {"'b' begins at byte 12", "after a gap from byte 8"});
  ExpectRefused(OpenChanged("[0,8]", "[8,16]").status(), absl::StatusCode::kDataLoss,
                {"begins at byte 8", "gap from byte 0"});
  ExpectRefused(OpenChanged("[8,16]", "[16,8]").status(), absl::StatusCode::kDataLoss,
                {"'b'", "data_offsets [16,8]"});
  ExpectRefused(OpenChanged("[8,16]", "[8,17]").status(), absl::StatusCode::kDataLoss,
                {"'b'", "has 9 bytes", "F32 of shape [2, 1]"});
  ExpectRefused(OpenChanged("[8,16]", "[8,16,24]").status(), absl::StatusCode::kDataLoss,
                {"'b'", "data_offsets"});
}

TEST_F(SafetensorsTest, NumbersMustBeCounts) {
  for (const std::string number : {"-1", "1.5", "\"2\"", "null", "9223372036854775808"}) {
    ExpectRefused(OpenChanged("[2]", "[" + number + "]").status(), absl::StatusCode::kDataLoss,
                  {"'a'", "shape", number});
    ExpectRefused(OpenChanged("[0,8]", "[" + number + ",8]").status(), absl::StatusCode::kDataLoss,
                  {"'a'", "data_offsets", number});
  }
  // 4 * 2^62 * 4 bytes do not fit 64 bits; the product modulo 2^64 would be 0.
  ExpectRefused(OpenChanged("[2]", "[4611686018427387904,4]").status(), absl::StatusCode::kDataLoss,
                {"'a'", "[4611686018427387904, 4]"});
  ExpectRefused(OpenChanged("[2]", "2").status(), absl::StatusCode::kDataLoss,
                {"shape is no list"});
}

TEST_F(SafetensorsTest, HeadersMustBeTheFormats) {
  EXPECT_TRUE(SafetensorsReader::Open(Write("f", File("{} ", ""))).ok());
  ExpectRefused(SafetensorsReader::Open(Write("f", File("[]", ""))).status(),
                absl::StatusCode::kDataLoss, {"not a JSON object"});
  ExpectRefused(SafetensorsReader::Open(Write("f", File("{", ""))).status(),
                absl::StatusCode::kDataLoss, {"is not JSON"});
  ExpectRefused(SafetensorsReader::Open(Write("f", File("{\"\xff\":1}", ""))).status(),
                absl::StatusCode::kDataLoss, {"is not JSON"});
  ExpectRefused(
      SafetensorsReader::Open(Write("f", File(std::string(1000, '[') + std::string(1000, ']'), "")))
          .status(),
      absl::StatusCode::kDataLoss, {"too deep"});
  ExpectRefused(OpenChanged("\"b\"", "\"a\"").status(), absl::StatusCode::kDataLoss,
                {"has 'a' more than once"});
  ExpectRefused(OpenChanged("\"shape\":[2]", "\"shape\":[2],\"shape\":[2]").status(),
                absl::StatusCode::kDataLoss, {"has 'shape' more than once"});
  ExpectRefused(OpenChanged("\"shape\":[2],", "").status(), absl::StatusCode::kDataLoss,
                {"'a' has no shape"});
  ExpectRefused(OpenChanged("\"shape\":[2]", "\"shape\":[2],\"x\":1").status(),
                absl::StatusCode::kDataLoss, {"'a' says more"});
  ExpectRefused(OpenChanged("F32", "F8_E4M3").status(), absl::StatusCode::kUnimplemented,
                {"'a'", "'F8_E4M3'", "BF16", "convert"});
  ExpectRefused(OpenChanged("\"a\":", "\"__metadata__\":").status(), absl::StatusCode::kDataLoss,
                {"__metadata__ 'data_offsets' is no text"});
}

TEST_F(SafetensorsTest, HeadersThatLieCostNoMemory) {
  for (const uint64_t length : {uint64_t{1} << 63, ~uint64_t{0}, uint64_t{1} << 40}) {
    ExpectRefused(
        SafetensorsReader::Open(Write("f", std::string(reinterpret_cast<const char*>(&length), 8)))
            .status(),
        absl::StatusCode::kDataLoss, {absl::StrCat(length)});
  }
  // A sparse file that really is so long.
  const uint64_t length = limits::kMaxSafetensorsHeaderBytes + 1;
  const std::string path = Write("f", std::string(reinterpret_cast<const char*>(&length), 8));
  ASSERT_EQ(truncate(path.c_str(), 8 + length), 0);
  ExpectRefused(SafetensorsReader::Open(path).status(), absl::StatusCode::kResourceExhausted,
                {absl::StrCat("has ", length, " bytes")});
}

TEST_F(SafetensorsTest, FoldersPipesAndMissingFilesAreRefused) {
  ExpectRefused(SafetensorsReader::Open(folder_).status(), absl::StatusCode::kDataLoss,
                {"not a regular file"});
  const std::string pipe = folder_ + "/pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  ExpectRefused(SafetensorsReader::Open(pipe).status(), absl::StatusCode::kDataLoss,
                {"not a regular file"});
  ExpectRefused(SafetensorsReader::Open(folder_ + "/none").status(), absl::StatusCode::kNotFound,
                {"/none"});
}

class ShardedTest : public SafetensorsTest {
 protected:
  ShardedTest() {
    SafetensorsWriter first, second;
    first.Add("a", "F32", {2}, Floats({1, 2}));
    second.Add("b", "F32", {1}, Floats({3}));
    Write("one.safetensors", first.Serialise());
    Write("two.safetensors", second.Serialise());
  }

  absl::StatusOr<SafetensorsReader> OpenIndex(const std::string& weight_map) {
    return SafetensorsReader::OpenSharded(
        Write("model.safetensors.index.json",
              absl::StrCat(R"({"metadata":{"total_size":12},"weight_map":)", weight_map, "}")));
  }
};

TEST_F(ShardedTest, ReadsAllFiles) {
  const auto file = OpenIndex(R"({"a":"one.safetensors","b":"two.safetensors"})");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(file->Read("a")->equal(at::tensor({1.f, 2.f})));
  EXPECT_TRUE(file->Read("b")->equal(at::tensor({3.f})));
  const auto model = SafetensorsReader::OpenModel(folder_);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->entries().size(), 2u);
}

TEST_F(ShardedTest, TheIndexMustBeTrue) {
  ExpectRefused(OpenIndex(R"({"a":"one.safetensors","b":"one.safetensors"})").status(),
                absl::StatusCode::kDataLoss, {"one.safetensors: has no tensor 'b'"});
  ExpectRefused(OpenIndex(R"({"a":"two.safetensors","b":"one.safetensors"})").status(),
                absl::StatusCode::kDataLoss, {"does not say that tensor 'a'", "one.safetensors"});
  ExpectRefused(OpenIndex(R"({"a":"one.safetensors","b":"three.safetensors"})").status(),
                absl::StatusCode::kNotFound, {"three.safetensors"});
  ExpectRefused(OpenIndex(R"({"a":"one.safetensors","b":"../two.safetensors"})").status(),
                absl::StatusCode::kDataLoss, {"'b'", "no file of its folder"});
  ExpectRefused(OpenIndex(R"({"a":"one.safetensors","b":7})").status(), absl::StatusCode::kDataLoss,
                {"'b'", "no file of its folder"});
  ExpectRefused(OpenIndex("[]").status(), absl::StatusCode::kDataLoss, {"no weight_map"});
}

TEST_F(ShardedTest, TheSameTensorTwiceIsRefused) {
  SafetensorsWriter writer;
  writer.Add("a", "F32", {2}, Floats({1, 2}));
  writer.Add("b", "F32", {1}, Floats({3}));
  Write("two.safetensors", writer.Serialise());
  ExpectRefused(OpenIndex(R"({"a":"one.safetensors","b":"two.safetensors"})").status(),
                absl::StatusCode::kDataLoss, {"two.safetensors: tensor 'a' is also in"});
}

TEST_F(SafetensorsTest, AFolderWithoutAModelSaysWhatItLacks) {
  ExpectRefused(SafetensorsReader::OpenModel(folder_).status(), absl::StatusCode::kNotFound,
                {"neither model.safetensors nor model.safetensors.index.json"});
  Write("model.safetensors", File(kHeader, Data()));
  EXPECT_TRUE(SafetensorsReader::OpenModel(folder_).ok());
}

// A model of two tensors and files for it.
class LoadIntoTest : public SafetensorsTest {
 protected:
  absl::Status Load(const std::vector<std::pair<std::string, std::vector<int64_t>>>& tensors,
                    const LoadOptions& options = {}, float value = 3) {
    SafetensorsWriter writer;
    for (const auto& [name, shape] : tensors) {
      const int64_t count = c10::multiply_integers(shape);
      writer.Add(name, "F32", shape, Floats(std::vector<float>(count, value)));
    }
    const auto file = SafetensorsReader::Open(Write("model", writer.Serialise()));
    EXPECT_TRUE(file.ok()) << file.status();
    return LoadInto({{"weight", weight_}, {"bias", bias_}}, *file, options);
  }

  at::Tensor weight_ = at::zeros({2, 3}).requires_grad_();
  at::Tensor bias_ = at::zeros({2}, at::kDouble);
};

TEST_F(LoadIntoTest, WritesEveryTarget) {
  ASSERT_TRUE(Load({{"weight", {2, 3}}, {"bias", {2}}}).ok());
  EXPECT_TRUE(weight_.equal(at::full({2, 3}, 3.f)));
  EXPECT_TRUE(weight_.requires_grad());
  EXPECT_TRUE(bias_.equal(at::full({2}, 3., at::kDouble)));
}

TEST_F(LoadIntoTest, StripsPrefixesAndIgnoresWhatItIsToldTo) {
  EXPECT_TRUE(Load({{"roberta.weight", {2, 3}}, {"roberta.bias", {2}}, {"lm_head.bias", {5}}},
                   {{"roberta."}, {"lm_head."}})
                  .ok());
  EXPECT_EQ(bias_.sum().item<double>(), 6);
  ExpectRefused(Load({{"roberta.weight", {2, 3}}, {"roberta.bias", {2}}, {"lm_head.bias", {5}}},
                     {{"roberta."}, {}}),
                absl::StatusCode::kInvalidArgument, {"1 extra: lm_head.bias"});
  ExpectRefused(
      Load({{"roberta.weight", {2, 3}}, {"bias", {2}}, {"roberta.bias", {2}}}, {{"roberta."}, {}}),
      absl::StatusCode::kInvalidArgument, {"'bias' and 'roberta.bias' are the same"});
}

TEST_F(LoadIntoTest, NamesMissingExtraAndWronglyShapedTensorsAndChangesNothing) {
  ExpectRefused(Load({{"weight", {3, 2}}, {"gain", {2}}}), absl::StatusCode::kInvalidArgument,
                {"/model", "1 missing: bias", "1 extra: gain",
                 "1 of wrong shape or type: weight (F32 [3, 2], where the model has F32 [2, 3])"});
  EXPECT_EQ(weight_.sum().item<float>(), 0);
  std::vector<std::pair<std::string, std::vector<int64_t>>> many = {{"weight", {2, 3}},
                                                                    {"bias", {2}}};
  for (int i = 0; i < 1000; ++i) many.push_back({absl::StrCat("extra", i), {1}});
  const absl::Status status = Load(many);
  ExpectRefused(status, absl::StatusCode::kInvalidArgument, {"1000 extra: extra0", "…"});
  EXPECT_LT(status.message().size(), 1000u);
}

TEST_F(LoadIntoTest, NumbersThatAreNotFiniteAreRefused) {
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    ExpectRefused(Load({{"weight", {2, 3}}, {"bias", {2}}}, {}, bad), absl::StatusCode::kDataLoss,
                  {"/model", "'weight'", "element 0 is ", "no weight"});
  }
}

TEST_F(LoadIntoTest, TypesAreConvertedAmongFloatingPointOnly) {
  SafetensorsWriter writer;
  writer.AddDoubles("weight", {2, 3}, {1, 2, 3, 4, 5, 6});
  writer.Add("bias", "BF16", {2}, absl::string_view("\x80\x3f\x00\x40", 4));
  const auto file = SafetensorsReader::Open(Write("f", writer.Serialise()));
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(LoadInto({{"weight", weight_}, {"bias", bias_}}, *file, {}).ok());
  EXPECT_EQ(weight_[1][2].item<float>(), 6);
  EXPECT_TRUE(bias_.equal(at::tensor({1., 2.}, at::kDouble)));
  // 1e300 is no float32.
  SafetensorsWriter large;
  large.AddDoubles("weight", {2, 3}, {1, 1e300, 3, 4, 5, 6});
  large.AddDoubles("bias", {2}, {1, 2});
  const auto large_file = SafetensorsReader::Open(Write("g", large.Serialise()));
  ExpectRefused(LoadInto({{"weight", weight_}, {"bias", bias_}}, *large_file, {}),
                absl::StatusCode::kDataLoss, {"'weight'", "element 1 is inf"});
  SafetensorsWriter integers;
  integers.Add("weight", "U8", {2, 3}, "abcdef");
  integers.AddDoubles("bias", {2}, {1, 2});
  const auto integer_file = SafetensorsReader::Open(Write("h", integers.Serialise()));
  ExpectRefused(LoadInto({{"weight", weight_}, {"bias", bias_}}, *integer_file, {}),
                absl::StatusCode::kInvalidArgument, {"weight (U8 [2, 3]"});
}

}  // namespace
}  // namespace evograd
