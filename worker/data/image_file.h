// Pictures from JPEG and PNG files, as the 8-bit RGB that Pillow's Image.open(path).convert("RGB")
// gives: grey is repeated, a palette looked up, 16 bits a channel cut to the upper 8, alpha dropped
// (not blended), CMYK and YCCK taken as Adobe's inverted inks. Two things are refused: 16-bit grey
// PNGs, which that conversion clips to white, and JPEGs of which any part is damaged (Pillow would
// invent the missing pixels). An EXIF orientation is not applied, as there.
//
//   EVOGRAD_ASSIGN_OR_RETURN(Image image, ReadImage("/data/cub/images/001/a.jpg"));
//   image.pixels[(y * image.width + x) * 3 + channel]
//
// The kind of a file is told by its first bytes, not by its name. A file may have up to
// limits::kMaxImageFileBytes, a picture up to limits::kMaxImageExtent pixels a side; both are
// checked before memory is taken for what the file claims.
//
// Threads: pure functions of the file. Errors, each naming the file and the cause: NOT_FOUND,
// PERMISSION_DENIED, DATA_LOSS (no picture, truncated, damaged, refused as above),
// RESOURCE_EXHAUSTED (larger than the bounds).
#ifndef EVOGRAD_WORKER_DATA_IMAGE_FILE_H_
#define EVOGRAD_WORKER_DATA_IMAGE_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace evograd {

struct Image {
  int height = 0;
  int width = 0;
  std::vector<uint8_t> pixels;  // [height, width, 3], red first
};

absl::StatusOr<Image> ReadImage(const std::string& path);

// Whether ReadImage will find a picture there, as far as a file's first and last kilobytes tell:
// it is a regular file that may be read, begins as a picture that is not refused, and is not cut
// off. Where they leave a doubt the whole file is decoded. OK is no promise: a byte in the middle
// may be damaged.
absl::Status CheckImageFile(const std::string& path);

// The bytes of a file; `name` stands in error messages.
absl::StatusOr<Image> DecodeImage(absl::string_view bytes, const std::string& name);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_IMAGE_FILE_H_
