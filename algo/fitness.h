// What the members' losses weigh, and what each adds to the hypergradient (O. Bohdal, Y. Yang,
// T. Hospedales, "EvoGrad", NeurIPS 2021; factorised).
//
// With losses l_k of members theta_k = theta + sigma epsilon_k:
//
//   w = softmax(-l / tau)                           theta* = theta + sigma sum_k w_k epsilon_k
//   s_k = sigma <g_V, epsilon_k>                    g_V = d l_V / d theta at theta*
//   d l_V / d lambda = sum_k c_k d l_k / d lambda   c_k = d l_V / d l_k
//                                                       = -(1/tau) w_k (s_k - sum_j w_j s_j)
//
// Pure; any thread; the same bits on every machine (algo/portable_math.h).
#ifndef EVOGRAD_ALGO_FITNESS_H_
#define EVOGRAD_ALGO_FITNESS_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace evograd {

// w = softmax(-losses / tau): non-negative, of sum 1 up to rounding. OUT_OF_RANGE names the first
// member whose loss is not finite; INVALID_ARGUMENT without losses or where tau is not positive and
// finite.
absl::StatusOr<std::vector<double>> FitnessWeights(absl::Span<const double> losses, double tau);

// -sum_k w_k ln w_k in nats: ln K where all members weigh the same, 0 where one outweighs all.
double FitnessEntropy(absl::Span<const double> weights);

// c_k of above. `projections` holds s_k, as many as there are weights; `tau` as for the weights.
std::vector<double> HypergradientCoefficients(absl::Span<const double> weights,
                                              absl::Span<const double> projections, double tau);

}  // namespace evograd

#endif  // EVOGRAD_ALGO_FITNESS_H_
