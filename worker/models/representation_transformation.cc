#include "worker/models/representation_transformation.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sigmoid.h>

#include <cmath>

#include "absl/strings/str_cat.h"

namespace evograd {
namespace {

void AppendXavierNormal(int64_t outputs, int64_t inputs, at::Generator generator,
                        std::vector<double>* values) {
  const double deviation = std::sqrt(2.0 / static_cast<double>(inputs + outputs));
  at::Tensor weight = at::empty({outputs * inputs}, at::kDouble);
  weight.normal_(0, deviation, generator);
  const double* first = weight.const_data_ptr<double>();
  values->insert(values->end(), first, first + weight.numel());
}

void AppendNames(const std::string& layer, int64_t outputs, int64_t inputs,
                 std::vector<std::string>* names) {
  for (int64_t i = 0; i < outputs; ++i) {
    for (int64_t j = 0; j < inputs; ++j) {
      names->push_back(absl::StrCat(layer, ".weight[", i, ",", j, "]"));
    }
  }
  for (int64_t i = 0; i < outputs; ++i) names->push_back(absl::StrCat(layer, ".bias[", i, "]"));
}

}  // namespace

RepresentationTransformation::RepresentationTransformation(int64_t hidden, int64_t bottleneck)
    : hidden_(hidden), bottleneck_(bottleneck) {}

int64_t RepresentationTransformation::size() const {
  return bottleneck_ * (hidden_ + 1) + (hidden_ + 1) * (bottleneck_ + 1);
}

std::vector<std::string> RepresentationTransformation::names() const {
  std::vector<std::string> names;
  names.reserve(size());
  AppendNames("first", bottleneck_, hidden_, &names);
  AppendNames("second", hidden_ + 1, bottleneck_, &names);
  return names;
}

std::vector<double> RepresentationTransformation::Initial(uint64_t seed) const {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  std::vector<double> values;
  values.reserve(size());
  AppendXavierNormal(bottleneck_, hidden_, generator, &values);
  values.insert(values.end(), bottleneck_, 0);
  AppendXavierNormal(hidden_ + 1, bottleneck_, generator, &values);
  values.insert(values.end(), hidden_ + 1, 0);
  return values;
}

at::Tensor RepresentationTransformation::Forward(const at::Tensor& hidden,
                                                 const at::Tensor& lambda) const {
  int64_t offset = 0;
  const auto next = [&](std::vector<int64_t> shape) {
    int64_t elements = 1;
    for (const int64_t extent : shape) elements *= extent;
    const at::Tensor part = lambda.narrow(0, offset, elements).view(shape);
    offset += elements;
    return part;
  };
  const at::Tensor first_weight = next({bottleneck_, hidden_});
  const at::Tensor first_bias = next({bottleneck_});
  const at::Tensor second_weight = next({hidden_ + 1, bottleneck_});
  const at::Tensor second_bias = next({hidden_ + 1});
  const at::Tensor middle = at::relu(at::linear(hidden.detach(), first_weight, first_bias));
  const at::Tensor out = at::linear(middle, second_weight, second_bias);
  const at::Tensor gate = at::sigmoid(out.narrow(-1, hidden_, 1));
  return hidden + gate * out.narrow(-1, 0, hidden_);
}

}  // namespace evograd
