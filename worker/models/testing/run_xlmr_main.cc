// run_xlmr FOLDER INPUTS OUT [quirks]: loads the encoder (and, where the file has one, the head) of
// a Hugging Face folder, runs it in evaluation mode on "ids" and "mask" of the safetensors file
// INPUTS, and writes into OUT: hidden.0 (embeddings) … hidden.L, logits, loss = sum(hidden.L *
// "direction") (+ sum(logits * "logit_direction")), gradient.NAME, product.NAME: the Hessian of
// the sum of squares of hidden.L times "vector.NAME", where INPUTS has them.
#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/autograd.h>

#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/status_macros.h"
#include "worker/data/safetensors.h"
#include "worker/data/safetensors_writer.h"
#include "worker/models/xlmr_config.h"
#include "worker/models/xlmr_encoder.h"

namespace evograd {
namespace {

void AddTensor(const std::string& name, const at::Tensor& tensor, SafetensorsWriter* writer) {
  const at::Tensor values = tensor.detach().to(at::kDouble).contiguous();
  writer->Add(name, "F64", values.sizes().vec(),
              absl::string_view(static_cast<const char*>(values.data_ptr()), values.nbytes()));
}

struct Model {
  std::shared_ptr<XlmrEncoder> encoder;
  std::shared_ptr<XlmrTokenHead> token_head;
  std::shared_ptr<XlmrSequenceHead> sequence_head;
  std::vector<NamedTensor> parameters;
};

absl::StatusOr<Model> Load(const std::string& folder, bool quirks) {
  EVOGRAD_ASSIGN_OR_RETURN(const XlmrConfig config, ReadXlmrConfig(folder + "/config.json"));
  EVOGRAD_ASSIGN_OR_RETURN(const SafetensorsReader file, SafetensorsReader::OpenModel(folder));
  Model model;
  model.encoder = std::make_shared<XlmrEncoder>(config, quirks);
  LoadOptions options{{"roberta."}, XlmrEncoder::IgnoredWeights()};
  std::vector<std::shared_ptr<torch::nn::Module>> modules = {model.encoder};
  std::vector<std::string> prefixes = {""};
  const auto classes = [&](const std::string& name) { return file.entries().at(name).shape[0]; };
  if (file.entries().count("classifier.weight") != 0) {
    model.token_head = std::make_shared<XlmrTokenHead>(config, classes("classifier.weight"));
    modules.push_back(model.token_head);
    prefixes.push_back("classifier.");
  } else if (file.entries().count("classifier.out_proj.weight") != 0) {
    model.sequence_head =
        std::make_shared<XlmrSequenceHead>(config, classes("classifier.out_proj.weight"));
    modules.push_back(model.sequence_head);
    prefixes.push_back("classifier.");
  }
  for (size_t i = 0; i < modules.size(); ++i) {
    modules[i]->eval();
    if (file.entries().begin()->second.type == at::kDouble) modules[i]->to(at::kDouble);
    for (const auto& item : modules[i]->named_parameters()) {
      model.parameters.push_back({prefixes[i] + item.key(), item.value()});
    }
  }
  EVOGRAD_RETURN_IF_ERROR(LoadInto(model.parameters, file, options));
  return model;
}

std::vector<at::Tensor> Tensors(const std::vector<NamedTensor>& parameters) {
  std::vector<at::Tensor> tensors;
  for (const NamedTensor& parameter : parameters) tensors.push_back(parameter.tensor);
  return tensors;
}

absl::Status Run(const std::string& folder, const std::string& inputs_path, const std::string& out,
                 bool quirks) {
  EVOGRAD_ASSIGN_OR_RETURN(const Model model, Load(folder, quirks));
  EVOGRAD_ASSIGN_OR_RETURN(const SafetensorsReader inputs, SafetensorsReader::Open(inputs_path));
  std::map<std::string, at::Tensor> given;
  for (const auto& item : inputs.entries()) {
    EVOGRAD_ASSIGN_OR_RETURN(given[item.first], inputs.Read(item.first));
  }
  SafetensorsWriter writer;
  const at::Tensor& mask = given.at("mask");
  at::Tensor hidden = model.encoder->Embed(given.at("ids"));
  AddTensor("hidden.0", hidden, &writer);
  for (int64_t i = 0; i < model.encoder->layers(); ++i) {
    hidden = model.encoder->RunLayers(hidden, mask, i, i + 1);
    AddTensor(absl::StrCat("hidden.", i + 1), hidden, &writer);
  }
  AddTensor("forward", model.encoder->Forward(given.at("ids"), mask), &writer);
  at::Tensor loss = (hidden * given.at("direction")).sum();
  if (model.token_head != nullptr || model.sequence_head != nullptr) {
    const at::Tensor logits = model.token_head != nullptr ? model.token_head->Forward(hidden)
                                                          : model.sequence_head->Forward(hidden);
    AddTensor("logits", logits, &writer);
    loss = loss + (logits * given.at("logit_direction")).sum();
  }
  const std::vector<at::Tensor> parameters = Tensors(model.parameters);
  std::vector<at::Tensor> gradients =
      torch::autograd::grad({loss}, parameters, {}, /*retain_graph=*/true);
  for (size_t i = 0; i < gradients.size(); ++i) {
    AddTensor("gradient." + model.parameters[i].name, gradients[i], &writer);
  }
  if (given.count("vector." + model.parameters[0].name) != 0) {
    const at::Tensor square = (hidden * given.at("direction")).square().sum();
    gradients = torch::autograd::grad({square}, parameters, {}, /*retain_graph=*/true,
                                      /*create_graph=*/true, /*allow_unused=*/true);
    at::Tensor product = at::zeros({}, hidden.options());
    for (size_t i = 0; i < gradients.size(); ++i) {
      if (!gradients[i].defined()) continue;
      product = product + (gradients[i] * given.at("vector." + model.parameters[i].name)).sum();
    }
    const std::vector<at::Tensor> products = torch::autograd::grad(
        {product}, parameters, {}, /*retain_graph=*/false, /*create_graph=*/false,
        /*allow_unused=*/true);
    for (size_t i = 0; i < products.size(); ++i) {
      if (products[i].defined()) {
        AddTensor("product." + model.parameters[i].name, products[i], &writer);
      }
    }
  }
  return writer.Write(out);
}

}  // namespace
}  // namespace evograd

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "run_xlmr FOLDER INPUTS OUT [quirks]\n");
    return 2;
  }
  const absl::Status status =
      evograd::Run(argv[1], argv[2], argv[3], argc > 4 && std::string(argv[4]) == "quirks");
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
