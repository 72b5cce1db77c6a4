// Goal: a machine is told from others by what it computes, the same in every process of it. Method:
// this process asks twice, and under other settings of LibTorch; child processes ask as the machine
// is and with the instruction set cut down to the oldest.
#include "worker/engine/numerics.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace evograd {
namespace {

constexpr char kOldest[] =
    "ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2";

// As a child process with these variables says.
std::string InChild(const std::string& environment) {
  const std::string command =
      absl::StrCat("env ", environment, " worker/engine/testing/print_numerics cpu");
  std::FILE* pipe = popen(command.c_str(), "r");
  EXPECT_NE(pipe, nullptr);
  std::array<char, 4096> line = {};
  EXPECT_NE(std::fgets(line.data(), line.size(), pipe), nullptr) << command;
  EXPECT_EQ(pclose(pipe), 0) << command;
  return std::string(absl::StripAsciiWhitespace(line.data()));
}

std::string DigestOf(const std::string& numerics) {
  return numerics.substr(numerics.rfind(", ") + 2);
}

TEST(NumericsTest, IsAShortLineOfPrintableCharacters) {
  const std::string line = Numerics("cpu").value();
  EXPECT_LE(line.size(), 200u);
  EXPECT_TRUE(std::all_of(line.begin(), line.end(), absl::ascii_isprint)) << line;
  EXPECT_TRUE(absl::StartsWith(line, "LibTorch ")) << line;
  const std::string digest = DigestOf(line);
  EXPECT_EQ(digest.size(), 8u);
  EXPECT_TRUE(std::all_of(digest.begin(), digest.end(), absl::ascii_isxdigit)) << digest;
}

TEST(NumericsTest, ADeviceThatFailsHasNone) {
  // Two of them would be equal.
  const absl::Status status = Numerics("no such device").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
  EXPECT_TRUE(absl::StrContains(std::string(status.message()), "no such device")) << status;
}

TEST(NumericsTest, ALimitOfOtherNamesIsNotPassedOver) {
  EXPECT_TRUE(absl::StrContains(InChild("ONEDNN_MAX_CPU_ISA=avx2_vnni"), " at most AVX2_VNNI, "));
  EXPECT_EQ(InChild("ONEDNN_MAX_CPU_ISA=ALL"),
            InChild("-u ONEDNN_MAX_CPU_ISA -u DNNL_MAX_CPU_ISA"));
}

TEST(NumericsTest, IsTheSameWhateverTheSettingsAndLeavesThemAlone) {
  const std::string first = Numerics("cpu").value();
  at::set_num_threads(3);
  at::globalContext().setDeterministicCuDNN(false);
  EXPECT_EQ(Numerics("cpu").value(), first);
  EXPECT_EQ(at::get_num_threads(), 3);
  EXPECT_FALSE(at::globalContext().deterministicCuDNN());
  EXPECT_EQ(InChild(""), first) << "another process of the same machine";
}

TEST(NumericsTest, AnOlderInstructionSetIsAnotherMachine) {
  const std::string here = InChild("");
  const std::string oldest = InChild(kOldest);
  EXPECT_TRUE(absl::StrContains(oldest, "ATen DEFAULT, oneDNN SSE41, ")) << oldest;
  EXPECT_EQ(InChild(kOldest), oldest);
  // A processor that has nothing newer is the same machine.
  if (absl::StrContains(here, "ATen DEFAULT, oneDNN SSE41, ")) {
    EXPECT_EQ(here, oldest);
  } else {
    EXPECT_NE(DigestOf(here), DigestOf(oldest)) << here << "\n" << oldest;
  }
}

}  // namespace
}  // namespace evograd
