// Domains of small generated pictures with their file lists, for tests.
#ifndef EVOGRAD_WORKER_PROBLEMS_TESTING_PICTURE_DOMAINS_H_
#define EVOGRAD_WORKER_PROBLEMS_TESTING_PICTURE_DOMAINS_H_

#include <string>
#include <vector>

namespace evograd {

// How many classes a list has, and how many pictures each class.
struct PictureDomain {
  std::string name;
  int classes = 3;
  int images = 4;
};

// Writes FOLDER/NAME/{base,val,novel}.json of each domain and their pictures, PNGs of `extent`
// pixels: stripes whose direction and width tell the class, in two colours that tell the domain,
// with a shift and some noise of each picture's own. Ends the process where it cannot.
void WritePictureDomains(const std::string& folder, const std::vector<PictureDomain>& domains,
                         int extent = 24);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_PROBLEMS_TESTING_PICTURE_DOMAINS_H_
