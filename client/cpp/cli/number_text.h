// Numbers as text.
#ifndef CLIENT_CPP_CLI_NUMBER_TEXT_H_
#define CLIENT_CPP_CLI_NUMBER_TEXT_H_

#include "attention/v1/attention.pb.h"
#include "client/cpp/files/number_text.h"

namespace attention::client {

using files::ShortestText;

// The double with the shortest text that rounds to `number`, an element of a
// tensor of `dtype`: 0.1 where a FLOAT32 holds 0.100000001490116.
double ShortestDouble(double number, v1::DataType dtype);

// The same tensor with its elements as values, each the ShortestDouble of the
// element. A tensor that contradicts itself is left as it is.
void MakeReadable(v1::Tensor& tensor);

}  // namespace attention::client

#endif  // CLIENT_CPP_CLI_NUMBER_TEXT_H_
