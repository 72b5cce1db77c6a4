#include "worker/models/backbone.h"

#include "worker/models/conv_backbone.h"
#include "worker/models/resnet.h"

namespace evograd {

std::shared_ptr<Backbone> MakeBackbone(BackboneKind kind) {
  switch (kind) {
    case BackboneKind::kConv4:
      return std::make_shared<ConvBackbone>(4);
    case BackboneKind::kConv6:
      return std::make_shared<ConvBackbone>(6);
    case BackboneKind::kResNet10:
      return std::make_shared<ResNet>(std::vector<int>{1, 1, 1, 1});
    case BackboneKind::kResNet18:
      return std::make_shared<ResNet>(std::vector<int>{2, 2, 2, 2});
    case BackboneKind::kResNet34:
      return std::make_shared<ResNet>(std::vector<int>{3, 4, 6, 3});
  }
  return nullptr;
}

}  // namespace evograd
