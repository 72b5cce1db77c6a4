// For tests: pictures with known pixels, as files, and small domains of few-shot learning made of
// them.
//
//   const std::string list = WriteDomain(testing::TempDir() + "/cub", "base", /*classes=*/6,
//                                        /*images=*/21, /*extent=*/24);   // .../cub/base.json
//
// Threads: any, on files of their own. A file that cannot be written ends the test.
#ifndef EVOGRAD_WORKER_DATA_TESTING_PICTURES_H_
#define EVOGRAD_WORKER_DATA_TESTING_PICTURES_H_

#include <cstdint>
#include <string>

#include "worker/data/image_file.h"

namespace evograd {

// Smooth patches with some noise, a pure function of its arguments; one `pattern` has one shape, so
// that it can stand for a class, and another picture for each `seed`.
Image MakePicture(int height, int width, uint64_t pattern, uint64_t seed);

std::string EncodePng(const Image& image);
std::string EncodeJpeg(const Image& image, int quality);

void WriteFileOrDie(const std::string& path, const std::string& bytes);
void MakeFolderOrDie(const std::string& path);  // with those above it

// Writes PNGs folder/SPLIT/CLASS/NUMBER.png and the list folder/SPLIT.json with relative names and
// the labels 0 .. classes - 1; answers the list's path.
std::string WriteDomain(const std::string& folder, const std::string& split, int classes,
                        int images, int extent);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_TESTING_PICTURES_H_
