// Goal: each kernel computes, bit for bit, the plain loop over algo/noise.h and algo/optimizer.h,
// touches only its range, and does so alike on the CPU and on CUDA. Method: every test runs on both
// (CUDA's is skipped without a GPU) over ranges that cut groups and blocks, out of place and in
// place, and compares with loops written here.
#include "worker/kernels/kernels.h"

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>

#include "worker/kernels/kernels_cuda.h"

namespace evograd {
namespace {

constexpr int64_t kElements = 3 * 4096 + 77;
constexpr uint64_t kSeed = 0xfeedfacecafebeefu;

const ElementRange kRanges[] = {
    {0, kElements},      // all, with a cut last block
    {64, 1000},          // within a block, from the middle of a group
    {5, 1},              // one element
    {127, 2},            // over a group's edge
    {4001, 4096 + 190},  // over two blocks' edges, odd
    {8192, 4096},        // one block exactly
    {kElements - 1, 1},  // the last element
    {100, 0},            // nothing
};

struct OnCpu {
  static constexpr bool kCuda = false;
};
struct OnCuda {
  static constexpr bool kCuda = true;
};

// A flat buffer on the test's device.
template <typename Place, typename T>
class Buffer {
 public:
  explicit Buffer(const std::vector<T>& values) : size_(values.size()) {
    if (!Place::kCuda) {
      host_ = values;
      return;
    }
    EXPECT_EQ(cudaMalloc(&device_, size_ * sizeof(T)), cudaSuccess);
    EXPECT_EQ(cudaMemcpy(device_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice),
              cudaSuccess);
  }
  ~Buffer() {
    if (device_ != nullptr) cudaFree(device_);
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  T* data() { return Place::kCuda ? static_cast<T*>(device_) : host_.data(); }

  std::vector<T> Read() const {
    if (!Place::kCuda) return host_;
    std::vector<T> values(size_);
    EXPECT_EQ(cudaMemcpy(values.data(), device_, size_ * sizeof(T), cudaMemcpyDeviceToHost),
              cudaSuccess);
    return values;
  }

 private:
  size_t size_;
  std::vector<T> host_;
  void* device_ = nullptr;
};

template <typename PlaceAndType>
class KernelsTest : public testing::Test {
 protected:
  using Place = typename PlaceAndType::first_type;
  using T = typename PlaceAndType::second_type;
  using Values = std::vector<T>;
  using Flat = Buffer<Place, T>;

  void SetUp() override {
    if (Place::kCuda && kernels_internal::cuda::DeviceCount() == 0) {
      GTEST_SKIP() << "no CUDA device";
    }
    device_.cuda = Place::kCuda;
  }

  Values Random(uint32_t seed) {
    std::mt19937 random(seed);
    std::normal_distribution<double> normal;
    Values values(kElements);
    for (T& value : values) value = static_cast<T>(normal(random));
    return values;
  }

  // `expected(i)` within the range, `before` outside of it.
  template <typename Expected>
  void ExpectWithin(ElementRange range, const Values& before, const Values& after,
                    Expected expected) {
    ASSERT_EQ(after.size(), before.size());
    for (int64_t i = 0; i < static_cast<int64_t>(before.size()); ++i) {
      const bool inside = i >= range.first && i < range.first + range.count;
      ASSERT_EQ(after[i], inside ? expected(i) : before[i])
          << "element " << i << " of " << range.first << " + " << range.count;
    }
  }

  KernelDevice device_;
};

using Cases = testing::Types<std::pair<OnCpu, float>, std::pair<OnCpu, double>,
                             std::pair<OnCuda, float>, std::pair<OnCuda, double>>;
TYPED_TEST_SUITE(KernelsTest, Cases);

constexpr NoiseKind kKinds[] = {NoiseKind::kRademacher, NoiseKind::kNormal};

MemberNoise Member(uint32_t member, double scale = 1) { return {{kSeed, 9, member}, scale}; }

// base + sum of coefficients[k] * epsilon_k in T, in order.
template <typename T>
T Perturbed(NoiseKind kind, const std::vector<NoiseKey>& keys, const std::vector<T>& coefficients,
            T base, int64_t element) {
  T sum = 0;
  for (size_t k = 0; k < keys.size(); ++k) {
    sum += coefficients[k] * static_cast<T>(NoiseAt(kind, keys[k], element));
  }
  return base + sum;
}

TYPED_TEST(KernelsTest, Perturb) {
  using T = typename TestFixture::T;
  const double sigma = 1e-3;
  const auto base = this->Random(1);
  const auto before = this->Random(2);
  for (NoiseKind kind : kKinds) {
    for (double scale : {1.0, -1.0, 0.25, 0.0}) {
      const MemberNoise member = Member(3, scale);
      for (ElementRange range : kRanges) {
        typename TestFixture::Flat from(base);
        typename TestFixture::Flat to(before);
        ASSERT_TRUE(
            Perturb(this->device_, {kind, sigma}, member, range, from.data(), to.data()).ok());
        const auto expected = [&](int64_t i) {
          return Perturbed<T>(kind, {member.key}, {static_cast<T>(sigma * scale)}, base[i], i);
        };
        this->ExpectWithin(range, before, to.Read(), expected);
        EXPECT_EQ(from.Read(), base);
        ASSERT_TRUE(
            Perturb(this->device_, {kind, sigma}, member, range, from.data(), from.data()).ok());
        this->ExpectWithin(range, base, from.Read(), expected);
      }
    }
  }
}

TYPED_TEST(KernelsTest, Recombine) {
  using T = typename TestFixture::T;
  const double sigma = 0.01;
  const auto base = this->Random(1);
  const auto before = this->Random(2);
  const std::vector<MemberNoise> members = {Member(0), Member(4), Member(2)};
  const std::vector<double> weights = {0.2, 0.7, 0.1};
  for (NoiseKind kind : kKinds) {
    for (ElementRange range : kRanges) {
      typename TestFixture::Flat from(base);
      typename TestFixture::Flat to(before);
      ASSERT_TRUE(Recombine<T>(this->device_, {kind, sigma}, members, weights, range, from.data(),
                               to.data())
                      .ok());
      this->ExpectWithin(range, before, to.Read(), [&](int64_t i) {
        return Perturbed<T>(kind, {members[0].key, members[1].key, members[2].key},
                            {static_cast<T>(sigma * weights[0]), static_cast<T>(sigma * weights[1]),
                             static_cast<T>(sigma * weights[2])},
                            base[i], i);
      });
    }
  }
}

TYPED_TEST(KernelsTest, RecombineJoinsAntitheticPairsAndSkipsTheBasePoint) {
  using T = typename TestFixture::T;
  const auto base = this->Random(1);
  const ElementRange range{0, kElements};
  const std::vector<MemberNoise> members = {Member(0), Member(1), Member(7, 0), Member(0, -1),
                                            Member(1, -1)};
  const std::vector<double> weights = {0.125, 0.25, 0.375, 0.0625, 0.1875};
  for (NoiseKind kind : kKinds) {
    typename TestFixture::Flat from(base);
    typename TestFixture::Flat to(base);
    ASSERT_TRUE(
        Recombine<T>(this->device_, {kind, 0.5}, members, weights, range, from.data(), to.data())
            .ok());
    this->ExpectWithin(range, base, to.Read(), [&](int64_t i) {
      return Perturbed<T>(kind, {members[0].key, members[1].key},
                          {static_cast<T>(0.5 * 0.0625), static_cast<T>(0.5 * 0.0625)}, base[i], i);
    });
  }
}

TYPED_TEST(KernelsTest, RecombineOfManyMembersGoesBySixtyFour) {
  using T = typename TestFixture::T;
  const auto base = this->Random(1);
  const ElementRange range{30, 200};
  std::vector<MemberNoise> members;
  std::vector<double> weights;
  for (uint32_t k = 0; k < 130; ++k) {
    members.push_back(Member(k));
    weights.push_back((k + 1) / 1000.0);
  }
  typename TestFixture::Flat from(base);
  typename TestFixture::Flat to(base);
  ASSERT_TRUE(Recombine<T>(this->device_, {NoiseKind::kRademacher, 0.1}, members, weights, range,
                           from.data(), to.data())
                  .ok());
  this->ExpectWithin(range, base, to.Read(), [&](int64_t i) {
    T value = base[i];
    for (size_t first = 0; first < members.size(); first += 64) {
      T sum = 0;
      for (size_t k = first; k < std::min(first + 64, members.size()); ++k) {
        sum += static_cast<T>(0.1 * weights[k]) *
               static_cast<T>(NoiseAt(NoiseKind::kRademacher, members[k].key, i));
      }
      value += sum;
    }
    return value;
  });
}

// A node of the tree over the values [first, last): its left child holds the largest power of two
// of them that is not all.
double TreeOf(const std::vector<double>& values, size_t first, size_t last) {
  if (last - first == 1) return values[first];
  size_t left = 1;
  while (2 * left < last - first) left *= 2;
  return TreeOf(values, first, first + left) + TreeOf(values, first + left, last);
}

// The sum that kernels.h promises, without any of its machinery.
template <typename T>
double PlainDot(NoiseKind kind, const NoiseKey& key, ElementRange range, const std::vector<T>& x) {
  std::vector<double> blocks;
  const int64_t last = range.first + range.count;
  for (int64_t block = range.first / 4096; block * 4096 < last; ++block) {
    std::vector<double> lanes(128, 0.0);
    for (int64_t i = block * 4096; i < (block + 1) * 4096; ++i) {
      if (i < range.first || i >= last) continue;
      const T epsilon = static_cast<T>(NoiseAt(kind, key, i));
      lanes[i % 128] += static_cast<double>(x[i]) * static_cast<double>(epsilon);
    }
    for (int width = 64; width >= 1; width /= 2) {
      for (int j = 0; j < width; ++j) lanes[j] += lanes[j + width];
    }
    blocks.push_back(lanes[0]);
  }
  return TreeOf(blocks, 0, blocks.size());
}

TYPED_TEST(KernelsTest, NoiseDots) {
  using T = typename TestFixture::T;
  const auto x = this->Random(3);
  const std::vector<MemberNoise> members = {Member(0),     Member(1, 0), Member(2, 0.5),
                                            Member(0, -1), Member(5),    Member(6)};
  for (NoiseKind kind : kKinds) {
    for (ElementRange range : kRanges) {
      typename TestFixture::Flat flat(x);
      std::vector<double> dots(members.size(), std::nan(""));
      ASSERT_TRUE(
          NoiseDots<T>(this->device_, kind, members, range, flat.data(), absl::MakeSpan(dots))
              .ok());
      for (size_t k = 0; k < members.size(); ++k) {
        if (range.count == 0 || members[k].scale == 0) {
          EXPECT_EQ(dots[k], 0);
          continue;
        }
        EXPECT_EQ(dots[k], members[k].scale * PlainDot<T>(kind, members[k].key, range, x)) << k;
        // The plain sum itself is one.
        long double sum = 0;
        for (int64_t i = range.first; i < range.first + range.count; ++i) {
          sum += members[k].scale * static_cast<long double>(x[i]) *
                 static_cast<T>(NoiseAt(kind, members[k].key, i));
        }
        EXPECT_NEAR(dots[k], static_cast<double>(sum), 1e-11);
      }
    }
  }
}

TYPED_TEST(KernelsTest, NoiseDotsOfManyMembersAndBlocks) {
  using T = typename TestFixture::T;
  // 11 blocks: an odd number on three levels of the tree.
  std::vector<T> x(10 * 4096 + 1);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(std::sin(static_cast<double>(i)));
  const ElementRange range{0, static_cast<int64_t>(x.size())};
  typename TestFixture::Flat flat(x);
  std::vector<MemberNoise> members;
  for (uint32_t k = 0; k < 67; ++k) members.push_back(Member(k));
  std::vector<double> dots(members.size());
  ASSERT_TRUE(NoiseDots<T>(this->device_, NoiseKind::kRademacher, members, range, flat.data(),
                           absl::MakeSpan(dots))
                  .ok());
  for (size_t k : {0, 1, 63, 64, 66}) {
    EXPECT_EQ(dots[k], PlainDot<T>(NoiseKind::kRademacher, members[k].key, range, x)) << k;
  }
}

TYPED_TEST(KernelsTest, OptimizerStep) {
  using T = typename TestFixture::T;
  std::vector<OptimizerConfig> configs(7);
  configs[0].kind = configs[1].kind = configs[2].kind = OptimizerKind::kSgd;
  configs[1].momentum = configs[2].momentum = 0.9;
  configs[2].nesterov = true;
  configs[2].weight_decay = 5e-4;
  configs[4].weight_decay = 0.01;
  configs[5].kind = OptimizerKind::kAdamW;
  configs[5].weight_decay = 0.01;
  configs[6].beta1 = 0.3;
  const auto gradient = this->Random(1);
  const auto theta = this->Random(2);
  const auto first = this->Random(3);
  auto second = this->Random(4);
  for (T& value : second) value = value * value;
  for (size_t c = 0; c < configs.size(); ++c) {
    const OptimizerRule<T> rule = MakeOptimizerRule<T>(configs[c], 3);
    const int slots = OptimizerSlots(configs[c]);
    for (ElementRange range : kRanges) {
      typename TestFixture::Flat g(gradient);
      typename TestFixture::Flat t(theta);
      typename TestFixture::Flat m(first);
      typename TestFixture::Flat v(second);
      ASSERT_TRUE(OptimizerStep<T>(this->device_, rule, range, g.data(), t.data(),
                                   slots >= 1 ? m.data() : nullptr, slots >= 2 ? v.data() : nullptr)
                      .ok());
      auto want_theta = theta;
      auto want_first = first;
      auto want_second = second;
      for (int64_t i = range.first; i < range.first + range.count; ++i) {
        UpdateElement(rule, gradient[i], &want_theta[i], &want_first[i], &want_second[i]);
      }
      EXPECT_EQ(t.Read(), want_theta) << "configuration " << c;
      EXPECT_EQ(m.Read(), want_first) << "configuration " << c;
      EXPECT_EQ(v.Read(), want_second) << "configuration " << c;
    }
  }
}

TYPED_TEST(KernelsTest, Sums) {
  using T = typename TestFixture::T;
  const auto a = this->Random(1);
  const auto b = this->Random(2);
  const auto before = this->Random(3);
  for (ElementRange range : kRanges) {
    typename TestFixture::Flat left(a);
    typename TestFixture::Flat right(b);
    typename TestFixture::Flat out(before);
    ASSERT_TRUE(Add<T>(this->device_, range, left.data(), right.data(), out.data()).ok());
    this->ExpectWithin(range, before, out.Read(), [&](int64_t i) { return a[i] + b[i]; });
    ASSERT_TRUE(
        ScaledAdd<T>(this->device_, -0.1, range, left.data(), right.data(), out.data()).ok());
    this->ExpectWithin(range, before, out.Read(),
                       [&](int64_t i) { return a[i] + static_cast<T>(-0.1) * b[i]; });
    ASSERT_TRUE(Scale<T>(this->device_, 0.3, range, left.data(), out.data()).ok());
    this->ExpectWithin(range, before, out.Read(),
                       [&](int64_t i) { return static_cast<T>(0.3) * a[i]; });
    ASSERT_TRUE(Add<T>(this->device_, range, left.data(), right.data(), left.data()).ok());
    this->ExpectWithin(range, a, left.Read(), [&](int64_t i) { return a[i] + b[i]; });
  }
}

TYPED_TEST(KernelsTest, FirstNonFinite) {
  using T = typename TestFixture::T;
  auto values = this->Random(1);
  values[0] = std::numeric_limits<T>::max();
  values[1] = std::numeric_limits<T>::denorm_min();
  const auto first = [&](ElementRange range) {
    typename TestFixture::Flat flat(values);
    const absl::StatusOr<int64_t> found = FirstNonFinite<T>(this->device_, range, flat.data());
    EXPECT_TRUE(found.ok()) << found.status();
    return found.ok() ? *found : -2;
  };
  for (ElementRange range : kRanges) EXPECT_EQ(first(range), -1);
  values[9001] = std::numeric_limits<T>::quiet_NaN();
  values[8500] = -std::numeric_limits<T>::infinity();
  EXPECT_EQ(first({0, kElements}), 8500);
  EXPECT_EQ(first({8501, 501}), 9001);
  EXPECT_EQ(first({8501, 500}), -1);
  EXPECT_EQ(first({8500, 1}), 8500);
}

TEST(KernelErrorsTest, NameCudasError) {
  if (kernels_internal::cuda::DeviceCount() > 0) GTEST_SKIP() << "there is a CUDA device";
  KernelDevice device;
  std::vector<float> x(10, 1.0f);
  ASSERT_TRUE(Scale<float>(device, 2, {0, 10}, x.data(), x.data()).ok());
  device.cuda = true;
  const absl::Status status = Scale<float>(device, 2, {0, 10}, x.data(), x.data());
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_NE(status.message().find("cudaError"), absl::string_view::npos) << status;
  EXPECT_EQ(x, std::vector<float>(10, 2.0f));
}

}  // namespace
}  // namespace evograd
