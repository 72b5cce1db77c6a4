// Writes one training pass and one evaluation pass of a RelationNet, with all that another
// implementation needs to compute the same, to a safetensors file, for tests/golden:
//
//   dump_few_shot OUT.safetensors resnet10 64 2 1 2 11    extent, ways, support, query, noise seed
//
// Computed in float64, from float32 numbers: parameters.NAME, buffers.NAME, lambda, images; after
// the training pass scores, loss, gradient.NAME, lambda_gradient, next.NAME (buffers); after an
// evaluation from the first buffers evaluation_scores.
#include <ATen/ATen.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "worker/data/safetensors_writer.h"
#include "worker/models/initialisation.h"
#include "worker/models/relation_net.h"

namespace evograd {
namespace {

void Add(const std::string& name, const at::Tensor& tensor, SafetensorsWriter* writer) {
  const at::Tensor single = tensor.detach().to(at::kFloat).contiguous();
  writer->Add(name, "F32", single.sizes().vec(),
              {static_cast<const char*>(single.const_data_ptr()), single.nbytes()});
}

void AddDoubles(const std::string& name, const at::Tensor& tensor, SafetensorsWriter* writer) {
  const at::Tensor flat = tensor.detach().flatten().contiguous();
  const double* const begin = flat.const_data_ptr<double>();
  writer->AddDoubles(name, tensor.sizes().vec(), {begin, begin + flat.numel()});
}

// Normalisations that do something, numbers that float32 holds.
void Stir(at::Generator generator, torch::nn::Module* net) {
  const at::NoGradGuard no_grad;
  for (const auto& item : net->named_parameters()) {
    if (item.value().dim() == 1) {
      item.value().add_(at::empty_like(item.value()).uniform_(-0.3, 0.3, generator));
    }
  }
  for (const auto& item : net->named_buffers()) {
    item.value().add_(at::empty_like(item.value()).uniform_(0, 0.3, generator));
  }
}

int Run(int argc, char** argv) {
  static const std::map<std::string, BackboneKind> kinds = {
      {"conv4", BackboneKind::kConv4},       {"conv6", BackboneKind::kConv6},
      {"resnet10", BackboneKind::kResNet10}, {"resnet18", BackboneKind::kResNet18},
      {"resnet34", BackboneKind::kResNet34},
  };
  if (argc != 8 || kinds.count(argv[2]) == 0) {
    std::fprintf(stderr, "usage: dump_few_shot OUT BACKBONE EXTENT WAYS SUPPORT QUERY SEED\n");
    return 2;
  }
  const int64_t extent = std::atoi(argv[3]);
  const EpisodeCut cut{std::atoi(argv[4]), std::atoi(argv[5])};
  const int64_t query = std::atoi(argv[6]);
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(5);
  RelationNet net(MakeBackbone(kinds.at(argv[2])), extent);
  InitialiseWeights(1, &net);
  Stir(generator, &net);
  const at::Tensor images =
      at::randn({cut.ways * (cut.support + query), 3, extent, extent}, generator).to(at::kDouble);
  at::Tensor lambda = at::empty({net.feature().sites().hyperparameters()})
                          .uniform_(-0.02, 0.5, generator)
                          .to(at::kDouble)
                          .requires_grad_(true);
  net.to(at::kDouble);

  SafetensorsWriter writer;
  for (const auto& item : net.named_parameters()) {
    Add("parameters." + item.key(), item.value(), &writer);
  }
  std::vector<at::Tensor> first_buffers;
  for (const auto& item : net.named_buffers()) {
    Add("buffers." + item.key(), item.value(), &writer);
    first_buffers.push_back(item.value().clone());
  }
  AddDoubles("lambda", lambda, &writer);
  Add("images", images, &writer);

  at::manual_seed(std::atoi(argv[7]));
  const at::Tensor scores = net.Forward(images, cut, {/*training=*/true, lambda});
  const at::Tensor loss = at::cross_entropy_loss(scores, QueryLabels(cut.ways, query));
  loss.backward();
  AddDoubles("scores", scores, &writer);
  AddDoubles("loss", loss, &writer);
  AddDoubles("lambda_gradient", lambda.grad(), &writer);
  for (const auto& item : net.named_parameters()) {
    Add("gradient." + item.key(), item.value().grad(), &writer);
  }
  size_t i = 0;
  const at::NoGradGuard no_grad;
  for (const auto& item : net.named_buffers()) {
    Add("next." + item.key(), item.value(), &writer);
    item.value().copy_(first_buffers[i++]);
  }
  AddDoubles("evaluation_scores", net.Forward(images, cut, FeaturePass()), &writer);
  const absl::Status status = writer.Write(argv[1]);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}

}  // namespace
}  // namespace evograd

int main(int argc, char** argv) { return evograd::Run(argc, argv); }
