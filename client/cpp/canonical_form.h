// What the SHA-256 of a weight set is taken over.
#ifndef CLIENT_CPP_CANONICAL_FORM_H_
#define CLIENT_CPP_CANONICAL_FORM_H_

#include <string>

#include "attention/v1/attention.pb.h"

namespace attention::client {

// Lower-case hexadecimal SHA-256 over the canonical form of `weights`
// (docs/canonical-form.md), computed from the message alone: a second opinion
// on what the server says. Empty if OpenSSL fails, which it does for want of
// memory only.
// REQUIRES: every tensor of `weights` carries data that fits its shape.
std::string CanonicalSha256(const v1::WeightSet& weights);

}  // namespace attention::client

#endif  // CLIENT_CPP_CANONICAL_FORM_H_
