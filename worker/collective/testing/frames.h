// Messages over a stream socket between a test and the processes that it starts: a kind and fields,
// each with its length.
#ifndef EVOGRAD_WORKER_COLLECTIVE_TESTING_FRAMES_H_
#define EVOGRAD_WORKER_COLLECTIVE_TESTING_FRAMES_H_

#include <string>
#include <vector>

namespace evograd {

// False when the other end is gone.
bool WriteFrame(int fd, const std::vector<std::string>& fields);
bool ReadFrame(int fd, std::vector<std::string>* fields);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_COLLECTIVE_TESTING_FRAMES_H_
