// One value of a job file into one field of a message. Pure functions; each answers what is wrong
// with the value, empty when nothing is.
#ifndef EVOGRAD_SPEC_JOB_FILE_VALUE_H_
#define EVOGRAD_SPEC_JOB_FILE_VALUE_H_

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <string>

#include "spec/yaml_tree.h"

namespace evograd {

// What `node` is, for a sentence: "`yes` is text", "this is a list".
std::string Describe(const YamlNode& node);

// A text: quoted, or plain and not to be taken for a number, a truth value or nothing.
std::string ReadText(const YamlNode& node, std::string* text);

// Any field but a message: int32, int64, uint64, double, bool, string, enum. To a list it adds one
// element.
std::string SetField(const YamlNode& node, const google::protobuf::FieldDescriptor& field,
                     google::protobuf::Message* message);

}  // namespace evograd

#endif  // EVOGRAD_SPEC_JOB_FILE_VALUE_H_
