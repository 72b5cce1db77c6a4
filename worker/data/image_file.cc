#include "worker/data/image_file.h"

#include <spng.h>
#include <turbojpeg.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "common/status_macros.h"
#include "worker/data/file_bytes.h"

namespace evograd {
namespace {

constexpr absl::string_view kJpegStart = "\xFF\xD8\xFF";
constexpr absl::string_view kPngStart = "\x89PNG\r\n\x1A\n";
constexpr absl::string_view kJpegEnd = "\xFF\xD9";
constexpr absl::string_view kPngEnd = "IEND\xAE\x42\x60\x82";
// Where the first chunk's type stands, and what stands there in Apple's own kind.
constexpr size_t kPngTypePlace = 12;
constexpr absl::string_view kAppleChunk = "CgBI";

absl::Status CheckExtent(const std::string& name, int64_t height, int64_t width) {
  if (height < 1 || width < 1) {
    return absl::DataLossError(
        absl::StrCat(name, ": the file is damaged (it has no pixels); get the file again"));
  }
  if (height <= limits::kMaxImageExtent && width <= limits::kMaxImageExtent) {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(absl::StrCat(name, ": is ", width, " x ", height,
                                                   " pixels; each side may be 1 to ",
                                                   limits::kMaxImageExtent, "; make it smaller"));
}

Image MakeImage(int height, int width) {
  Image image;
  image.height = height;
  image.width = width;
  image.pixels.resize(size_t{3} * height * width);
  return image;
}

absl::Status JpegError(const std::string& name, tjhandle decoder) {
  const char* why = tjGetErrorStr2(decoder);
  // libjpeg's words for a file that ends, or a scan that does.
  const bool ends = absl::StrContains(why, "remature end");
  return absl::DataLossError(absl::StrCat(name, ": the JPEG is ", ends ? "truncated" : "damaged",
                                          " (", why, "); get the file again"));
}

// Round(a * b / 255), as Pillow has it.
int MultiplyBytes(int a, int b) {
  const int product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}

// `inks` [pixels, 4] holds 255 - ink, as Adobe's programs write it.
void InksToRgb(const std::vector<uint8_t>& inks, std::vector<uint8_t>* pixels) {
  for (size_t i = 0; i < pixels->size() / 3; ++i) {
    const int light = inks[4 * i + 3];
    for (int c = 0; c < 3; ++c) {
      (*pixels)[3 * i + c] = light - MultiplyBytes(255 - inks[4 * i + c], light);
    }
  }
}

absl::StatusOr<Image> DecodeJpeg(absl::string_view bytes, const std::string& name) {
  const std::unique_ptr<void, int (*)(tjhandle)> decoder(tjInitDecompress(), &tjDestroy);
  if (decoder == nullptr) return absl::ResourceExhaustedError("no memory for a JPEG decoder");
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  int width = 0;
  int height = 0;
  int subsampling = 0;
  int colors = 0;
  if (tjDecompressHeader3(decoder.get(), data, bytes.size(), &width, &height, &subsampling,
                          &colors) != 0) {
    return JpegError(name, decoder.get());
  }
  EVOGRAD_RETURN_IF_ERROR(CheckExtent(name, height, width));
  Image image = MakeImage(height, width);
  const bool four = colors == TJCS_CMYK || colors == TJCS_YCCK;
  std::vector<uint8_t> inks(four ? size_t{4} * height * width : 0);
  // libjpeg invents what is missing and warns; nobody would see the warning.
  constexpr int kFlags = TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS;
  if (tjDecompress2(decoder.get(), data, bytes.size(), four ? inks.data() : image.pixels.data(),
                    width, /*pitch=*/0, height, four ? TJPF_CMYK : TJPF_RGB, kFlags) != 0) {
    return JpegError(name, decoder.get());
  }
  if (four) InksToRgb(inks, &image.pixels);
  return image;
}

absl::Status PngError(const std::string& name, int error) {
  return absl::DataLossError(absl::StrCat(name, ": the PNG is ",
                                          error == SPNG_IO_EOF ? "truncated" : "damaged", " (",
                                          spng_strerror(error), "); get the file again"));
}

using PngDecoder = std::unique_ptr<spng_ctx, void (*)(spng_ctx*)>;

// The header of a PNG that is not refused; its first bytes are enough.
absl::Status ReadPngHeader(absl::string_view bytes, const std::string& name, PngDecoder* decoder,
                           spng_ihdr* header) {
  decoder->reset(spng_ctx_new(0));
  if (*decoder == nullptr) return absl::ResourceExhaustedError("no memory for a PNG decoder");
  if (bytes.substr(kPngTypePlace, kAppleChunk.size()) == kAppleChunk) {
    return absl::DataLossError(
        absl::StrCat(name,
                     ": is a PNG of Apple's own kind (CgBI), as its programs for phones hold them; "
                     "convert it to a PNG"));
  }
  // Chunks that do not bear on the pixels may be damaged, but not blow up.
  spng_set_crc_action(decoder->get(), SPNG_CRC_ERROR, SPNG_CRC_DISCARD);
  spng_set_chunk_limits(decoder->get(), limits::kMaxImageFileBytes, limits::kMaxImageFileBytes);
  int error = spng_set_png_buffer(decoder->get(), bytes.data(), bytes.size());
  if (error == 0) error = spng_get_ihdr(decoder->get(), header);
  if (error != 0) return PngError(name, error);
  EVOGRAD_RETURN_IF_ERROR(CheckExtent(name, header->height, header->width));
  if (header->color_type == SPNG_COLOR_TYPE_GRAYSCALE && header->bit_depth == 16) {
    return absl::DataLossError(
        absl::StrCat(name,
                     ": is a PNG of 16-bit grey, which has no 8-bit form that everybody agrees on; "
                     "convert it to 8 bits"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Image> DecodePng(absl::string_view bytes, const std::string& name) {
  PngDecoder decoder(nullptr, &spng_ctx_free);
  spng_ihdr header;
  EVOGRAD_RETURN_IF_ERROR(ReadPngHeader(bytes, name, &decoder, &header));
  Image image = MakeImage(header.height, header.width);
  const int error = spng_decode_image(decoder.get(), image.pixels.data(), image.pixels.size(),
                                      SPNG_FMT_RGB8, /*flags=*/0);
  if (error != 0) return PngError(name, error);
  return image;
}

// The extents of a JPEG, where its first bytes say them; they may stand behind a preview of any
// length.
absl::Status CheckJpegStart(absl::string_view start, const std::string& name) {
  const std::unique_ptr<void, int (*)(tjhandle)> decoder(tjInitDecompress(), &tjDestroy);
  if (decoder == nullptr) return absl::ResourceExhaustedError("no memory for a JPEG decoder");
  int width = 0;
  int height = 0;
  int subsampling = 0;
  int colors = 0;
  const auto* data = reinterpret_cast<const unsigned char*>(start.data());
  if (tjDecompressHeader3(decoder.get(), data, start.size(), &width, &height, &subsampling,
                          &colors) != 0) {
    return absl::OkStatus();
  }
  return CheckExtent(name, height, width);
}

absl::Status NoPicture(absl::string_view bytes, const std::string& name) {
  if (bytes.empty()) return absl::DataLossError(absl::StrCat(name, ": is empty"));
  return absl::DataLossError(
      absl::StrCat(name, ": is neither a JPEG nor a PNG by its first bytes; convert it to one"));
}

}  // namespace

absl::StatusOr<Image> DecodeImage(absl::string_view bytes, const std::string& name) {
  if (absl::StartsWith(bytes, kJpegStart)) return DecodeJpeg(bytes, name);
  if (absl::StartsWith(bytes, kPngStart)) return DecodePng(bytes, name);
  return NoPicture(bytes, name);
}

absl::Status CheckImageFile(const std::string& path) {
  EVOGRAD_ASSIGN_OR_RETURN(const FileBytes file, FileBytes::Open(path));
  if (file.size() > limits::kMaxImageFileBytes) return ReadImage(path).status();
  // What a disk reads at a time.
  constexpr int64_t kBlock = 4096;
  std::string start(std::min(kBlock, file.size()), '\0');
  EVOGRAD_RETURN_IF_ERROR(file.Read(0, start.size(), start.data(), "its first bytes"));
  std::string end = start;
  if (file.size() > kBlock) {
    EVOGRAD_RETURN_IF_ERROR(file.Read(file.size() - kBlock, kBlock, end.data(), "its last bytes"));
  }
  const bool jpeg = absl::StartsWith(start, kJpegStart);
  if (jpeg) {
    EVOGRAD_RETURN_IF_ERROR(CheckJpegStart(start, path));
  } else if (absl::StartsWith(start, kPngStart)) {
    PngDecoder decoder(nullptr, &spng_ctx_free);
    spng_ihdr header;
    EVOGRAD_RETURN_IF_ERROR(ReadPngHeader(start, path, &decoder, &header));
  } else {
    return NoPicture(start, path);
  }
  // Some writers put bytes of their own behind the end, and some PNGs have none.
  if (absl::StrContains(end, jpeg ? kJpegEnd : kPngEnd)) return absl::OkStatus();
  return ReadImage(path).status();
}

absl::StatusOr<Image> ReadImage(const std::string& path) {
  EVOGRAD_ASSIGN_OR_RETURN(const std::string bytes,
                           ReadFileBytes(path, limits::kMaxImageFileBytes));
  return DecodeImage(bytes, path);
}

}  // namespace evograd
