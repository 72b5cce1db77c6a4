// The bytes of idx files (worker/data/idx.h), for tests.
#ifndef EVOGRAD_WORKER_DATA_TESTING_IDX_BYTES_H_
#define EVOGRAD_WORKER_DATA_TESTING_IDX_BYTES_H_

#include <cstdint>
#include <initializer_list>
#include <string>

namespace evograd {

inline std::string BigEndian(std::initializer_list<uint32_t> numbers) {
  std::string bytes;
  for (const uint32_t number : numbers) {
    for (int shift = 24; shift >= 0; shift -= 8) {
      bytes.push_back(static_cast<char>(number >> shift));
    }
  }
  return bytes;
}

inline std::string IdxImages(uint32_t count, uint32_t rows, uint32_t columns,
                             const std::string& pixels) {
  return BigEndian({2051, count, rows, columns}) + pixels;
}

inline std::string IdxLabels(const std::string& labels) {
  return BigEndian({2049, static_cast<uint32_t>(labels.size())}) + labels;
}

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_TESTING_IDX_BYTES_H_
