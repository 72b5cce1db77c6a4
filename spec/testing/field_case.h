// For tests of specs: a wrong field is named, and its twin, which differs in that one thing, is
// accepted.
//
//   class FieldTest : public testing::TestWithParam<FieldCase> {};
//   TEST_P(FieldTest, WrongIsNamedAndItsTwinIsAccepted) {
//     ExpectWrongIsNamedAndItsTwinIsAccepted(GetParam());
//   }
#ifndef EVOGRAD_SPEC_TESTING_FIELD_CASE_H_
#define EVOGRAD_SPEC_TESTING_FIELD_CASE_H_

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "proto/evograd/v1/job.pb.h"
#include "spec/resolve.h"

namespace evograd {

// A spec from its text form; not resolved.
inline v1::JobSpec ParseSpec(const std::string& text) {
  v1::JobSpec spec;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &spec)) << text;
  return spec;
}

struct FieldCase {
  std::string good;   // a whole spec
  std::string wrong;  // its twin
  std::string field;  // the one at fault
  std::string says;   // a part of the sentence about it
};

inline void ExpectWrongIsNamedAndItsTwinIsAccepted(const FieldCase& field_case) {
  v1::JobSpec good = ParseSpec(field_case.good);
  EXPECT_THAT(Resolve(&good), testing::IsEmpty()) << field_case.good;

  v1::JobSpec wrong = ParseSpec(field_case.wrong);
  const std::vector<FieldViolation> violations = Resolve(&wrong);
  ASSERT_THAT(violations, testing::SizeIs(1)) << field_case.wrong;
  EXPECT_EQ(violations[0].field, field_case.field);
  EXPECT_THAT(violations[0].description, testing::HasSubstr(field_case.says));
}

}  // namespace evograd

#endif  // EVOGRAD_SPEC_TESTING_FIELD_CASE_H_
