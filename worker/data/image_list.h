// The file lists of cross-domain few-shot learning, one JSON object per domain and split:
//
//   {"label_names": ["a", "b"], "image_names": ["/data/a/0.jpg", ...], "image_labels": [0, ...]}
//
//   EVOGRAD_ASSIGN_OR_RETURN(ImageList list, ReadImageList("/data/filelists/cub/base.json"));
//   EVOGRAD_RETURN_IF_ERROR(CheckClasses(list, /*min_classes=*/5, /*min_images=*/21));
//
// `image_labels` has a whole number from 0 for each image; where `label_names` is not empty, a
// label is a position in it (CUB's splits keep the numbers of all 200 classes, so not every name
// need have images here). An image's name is an absolute path or one relative to the list's own
// folder. Whether the images exist is not looked at. Other fields are ignored.
//
// Threads: pure functions of the file. Errors, each naming the file and the field with the position
// in it: NOT_FOUND, PERMISSION_DENIED, DATA_LOSS (not JSON, a field missing or of another type,
// lengths that differ, a label out of range, no image at all), RESOURCE_EXHAUSTED (larger than
// limits::kMaxImageListBytes).
#ifndef EVOGRAD_WORKER_DATA_IMAGE_LIST_H_
#define EVOGRAD_WORKER_DATA_IMAGE_LIST_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace evograd {

struct ImageClass {
  int64_t label = 0;            // as the file has it
  std::string name;             // of `label_names`, or the label where that is empty
  std::vector<int64_t> images;  // positions in ImageList::images, ascending
};

struct ImageList {
  std::string path;
  std::vector<std::string> images;  // paths, in the file's order
  std::vector<int64_t> classes_of;  // per image its position in `classes`, 0 .. classes - 1
  std::vector<ImageClass> classes;  // those that have images, by ascending label
};

absl::StatusOr<ImageList> ReadImageList(const std::string& path);

// At least `min_classes` classes, each with at least `min_images` images; with `repeat_images` one
// is enough (the sampler then repeats a class's images, as the reference does). INVALID_ARGUMENT
// names the file, the first class that has too few, and the number of such classes.
absl::Status CheckClasses(const ImageList& list, int64_t min_classes, int64_t min_images,
                          bool repeat_images = false);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_IMAGE_LIST_H_
