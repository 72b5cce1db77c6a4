// Logarithm, exponential, sine and cosine from IEEE +, -, * and / alone, in double.
//
// libm's and CUDA's differ in the last bits, from each other and from machine to machine; these
// give the same bits wherever sums and products are rounded as written (-ffp-contract=off and
// -fmad=false). No branches, so loops over them vectorise. Relative error below 1e-14 (tested).
//
// Pure; any thread; host and CUDA; no errors.
#ifndef EVOGRAD_ALGO_PORTABLE_MATH_H_
#define EVOGRAD_ALGO_PORTABLE_MATH_H_

#include <cstdint>
#include <cstring>

#include "algo/host_device.h"

namespace evograd {

EVOGRAD_HOST_DEVICE uint64_t BitsOf(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof(bits));
  return bits;
}

EVOGRAD_HOST_DEVICE double FromBits(uint64_t bits) {
  double x;
  memcpy(&x, &bits, sizeof(x));
  return x;
}

// The number itself, for n < 2^52: exact, and vectorises where the machine's own conversion does
// not. 2^52 + n has n as its last bits.
EVOGRAD_HOST_DEVICE double SmallIntegerToDouble(uint64_t n) {
  return FromBits(n | 0x4330000000000000u) - 4503599627370496.0;
}

// ln x for a positive, finite, normal x.
EVOGRAD_HOST_DEVICE double PortableLog(double x) {
  // x = 2^exponent * m with m in [sqrt(1/2), sqrt(2)); ln m = 2 atanh((m - 1) / (m + 1)).
  constexpr uint64_t kOne = 0x3FF0000000000000u;
  constexpr uint64_t kRootOfHalf = 0x3FE6A09E667F3BCDu;
  const uint64_t shifted = BitsOf(x) + (kOne - kRootOfHalf);
  const double exponent = SmallIntegerToDouble(shifted >> 52) - 1023.0;
  const double m = FromBits((shifted & 0x000FFFFFFFFFFFFFu) + kRootOfHalf);
  const double f = (m - 1.0) / (m + 1.0);
  const double s = f * f;  // at most 0.0295: the term of s^11 / 23 is below 1e-18
  double p = 1.0 / 21;
  p = p * s + 1.0 / 19;
  p = p * s + 1.0 / 17;
  p = p * s + 1.0 / 15;
  p = p * s + 1.0 / 13;
  p = p * s + 1.0 / 11;
  p = p * s + 1.0 / 9;
  p = p * s + 1.0 / 7;
  p = p * s + 1.0 / 5;
  p = p * s + 1.0 / 3;
  const double log_m = 2.0 * f + 2.0 * f * (s * p);
  // ln 2 in two parts; the first has enough zero bits that its product with an exponent is exact.
  return exponent * 6.93147180369123816490e-01 + (log_m + exponent * 1.90821492927058770002e-10);
}

// e^x for a finite or infinite x: 0 below -746, infinity above 709.8.
EVOGRAD_HOST_DEVICE double PortableExp(double x) {
  const double bounded = x < -746.0 ? -746.0 : (x > 710.0 ? 710.0 : x);
  // x = n ln 2 + r with |r| <= ln 2 / 2.
  const double scaled = bounded * 1.4426950408889634074;
  const int n = static_cast<int>(scaled + (scaled < 0 ? -0.5 : 0.5));
  const double r = (bounded - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
  double p = 1.0;  // the Taylor series, innermost term first
  for (int i = 14; i >= 1; --i) p = 1.0 + p * r / i;
  // 2^n in two factors: either alone may lie outside the range of double.
  const int half = n / 2;
  const double low = FromBits(static_cast<uint64_t>(half + 1023) << 52);
  const double high = FromBits(static_cast<uint64_t>(n - half + 1023) << 52);
  return p * low * high;
}

struct SineCosine {
  double sine;
  double cosine;
};

// Sine and cosine of 2 pi n / 2^52, for n < 2^52.
EVOGRAD_HOST_DEVICE SineCosine PortableSineCosine(uint64_t n) {
  // The nearest quarter turn, and what is left: an eighth of a turn at most, exactly.
  const uint64_t shifted = n + (uint64_t{1} << 49);
  const uint64_t quarter = (shifted >> 50) & 3;
  const double left = SmallIntegerToDouble(shifted & ((uint64_t{1} << 50) - 1)) - 562949953421312.0;
  const double x = left * (6.28318530717958647693 / 4503599627370496.0);
  const double s = x * x;  // at most 0.617: the next terms are below 1e-17
  double p = 1.0 / 355687428096000.0;
  p = p * s - 1.0 / 1307674368000.0;
  p = p * s + 1.0 / 6227020800.0;
  p = p * s - 1.0 / 39916800.0;
  p = p * s + 1.0 / 362880.0;
  p = p * s - 1.0 / 5040.0;
  p = p * s + 1.0 / 120.0;
  p = p * s - 1.0 / 6.0;
  const double sine = x + x * (s * p);
  double q = 1.0 / 20922789888000.0;
  q = q * s - 1.0 / 87178291200.0;
  q = q * s + 1.0 / 479001600.0;
  q = q * s - 1.0 / 3628800.0;
  q = q * s + 1.0 / 40320.0;
  q = q * s - 1.0 / 720.0;
  q = q * s + 1.0 / 24.0;
  const double cosine = (1.0 - 0.5 * s) + s * s * q;
  // Turn by the quarter: odd quarters swap, two of the four change each sign.
  const uint64_t odd = uint64_t{0} - (quarter & 1);
  const uint64_t a = BitsOf(sine);
  const uint64_t b = BitsOf(cosine);
  const uint64_t sine_sign = (quarter >> 1) << 63;
  const uint64_t cosine_sign = ((quarter ^ (quarter >> 1)) & 1) << 63;
  return SineCosine{FromBits(((a & ~odd) | (b & odd)) ^ sine_sign),
                    FromBits(((b & ~odd) | (a & odd)) ^ cosine_sign)};
}

}  // namespace evograd

#endif  // EVOGRAD_ALGO_PORTABLE_MATH_H_
