// Tensors as tables for the terminal.
#ifndef CLIENT_CPP_CLI_TABLE_H_
#define CLIENT_CPP_CLI_TABLE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "attention/v1/attention.pb.h"

namespace attention::client {

// Columns of text, each as wide as its widest cell, two blanks between them.
// Numbers are set to the right, the rest to the left.
std::string TextTable(const std::vector<std::vector<std::string>>& rows);

// `number` with 4 digits after the point; in scientific form if `scientific`.
std::string FourDigits(double number, bool scientific = false);

// Every matrix of `tensor` (its last two axes) as a table with 4 digits under a
// heading such as "attention_matrix[0][1]".
absl::StatusOr<std::string> TensorTable(const std::string& name,
                                        const v1::Tensor& tensor);

// Rows of "index:weight".
absl::StatusOr<std::string> TopKTable(const v1::TopK& top_k);

}  // namespace attention::client

#endif  // CLIENT_CPP_CLI_TABLE_H_
